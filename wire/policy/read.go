package policy

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
)

// read sets v, whose type says what is expected, to what n holds. The types are
// those of the root package, and their json tags the names.
func read(n *node, path string, v reflect.Value) error {
	if n.kind == nothing {
		return n.errorf(path, "found nothing").WithHint("leave out what is to have no value")
	}
	switch to := v.Addr().Interface().(type) {
	case *time.Time:
		return readTime(n, path, to)
	case encoding.TextUnmarshaler:
		return readText(n, path, to)
	}
	switch v.Kind() {
	case reflect.Struct:
		return readObject(n, path, v)
	case reflect.Slice:
		return readList(n, path, v)
	case reflect.Int:
		return readInt(n, path, v)
	}
	if n.kind != text {
		return n.wrong(path, "text")
	}
	v.SetString(n.text)
	return nil
}

// wrong reports a value that is not of the expected kind.
func (n *node) wrong(path, want string) error {
	e := n.errorf(path, "the wrong type")
	e.Want, e.Got = want, n.describe()
	switch {
	case want != "text":
	case n.kind == list || n.kind == object:
		return e.WithHint("text with brackets or braces, and text with a colon and a space in it, is to be put in quotes")
	default:
		return e.WithHint("put it in quotes: %q", cut(n.text))
	}
	return e
}

func readObject(n *node, path string, v reflect.Value) error {
	if n.kind != object {
		return n.wrong(path, "an object")
	}
	for i, name := range n.names {
		if name.kind != text {
			return name.wrong(path, "the name of a member")
		}
		f, ok := field(v, name.text)
		if !ok {
			return unknown(name, path, v.Type())
		}
		at := join(path, name.text)
		if !f.IsZero() {
			return name.errorf(at, "it stands twice")
		}
		if err := read(n.values[i], at, f); err != nil {
			return err
		}
		// What has no value restricts nothing, and looks as if it did.
		if f.IsZero() {
			return n.values[i].errorf(at, "it says nothing").WithHint("leave it out")
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// field finds a field of a struct by its name in JSON.
func field(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if nameOf(v.Type().Field(i)) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func nameOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// unknown reports a member that t does not have, and the one that was meant.
func unknown(name *node, path string, t reflect.Type) error {
	known := make([]string, t.NumField())
	for i := range known {
		known[i] = nameOf(t.Field(i))
	}
	e := name.errorf(path, "unknown member %.60q", name.text)
	if near, ok := nearest(name.text, known); ok {
		return e.WithHint("did you mean %s?", near)
	}
	if len(known) > 8 {
		return e.WithHint("docs/policy.md lists them")
	}
	return e.WithHint("expected one of %s", strings.Join(known, ", "))
}

func readList(n *node, path string, v reflect.Value) error {
	if n.kind != list {
		return n.wrong(path, "a list")
	}
	if len(n.values) > sigbox.MaxPolicyEntries {
		e := n.errorf(path, "%d of them, at most %d are read", len(n.values), sigbox.MaxPolicyEntries)
		e.Kind = sigbox.TooLarge
		return e
	}
	if len(n.values) > 0 {
		v.Set(reflect.MakeSlice(v.Type(), len(n.values), len(n.values)))
	}
	for i, element := range n.values {
		if err := read(element, fmt.Sprintf("%s[%d]", path, i), v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// readInt takes decimal digits alone: other notations are not read alike.
func readInt(n *node, path string, v reflect.Value) error {
	i, err := strconv.Atoi(n.text)
	if n.kind != number || err != nil || strconv.Itoa(i) != n.text {
		return n.wrong(path, "a whole number")
	}
	v.SetInt(int64(i))
	return nil
}

// readTime takes RFC 3339 alone. Of a date it is not clear when it ends.
func readTime(n *node, path string, to *time.Time) error {
	if n.kind != text && n.kind != moment {
		return n.wrong(path, "a time")
	}
	t, err := time.Parse(time.RFC3339Nano, n.text)
	if err != nil || strings.Contains(n.text, ",") {
		e := n.errorf(path, "not a time by RFC 3339")
		e.Want, e.Got = "one as in 2026-01-31T12:00:00Z", n.describe()
		return e
	}
	*to = t.UTC()
	return nil
}

// readText takes what has a form of its own: keys, algorithms, digests.
func readText(n *node, path string, to encoding.TextUnmarshaler) error {
	if n.kind != text {
		return n.wrong(path, "text")
	}
	err := to.UnmarshalText([]byte(n.text))
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*sigbox.Error](err)
	if !ok {
		return n.errorf(path, "%.200s", err.Error())
	}
	c := *e
	c.Msg = path + ": " + e.Msg
	return n.locate(&c)
}
