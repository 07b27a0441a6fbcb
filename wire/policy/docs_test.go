package policy_test

import (
	"flag"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/policy"
)

const (
	docPath    = "../../docs/policy.md"
	schemaPath = "../../docs/policy.schema.json"
)

var update = flag.Bool("update", false, "rewrite docs/policy.schema.json")

func page(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// examples gives those of docs/policy.md.
func examples(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(page(t), -1) {
		out = append(out, m[1])
	}
	if len(out) < 5 {
		t.Fatalf("found %d examples in %s", len(out), docPath)
	}
	return out
}

// TestDocsExamples holds the page to its word: each example is read, and is how
// the policy is printed.
func TestDocsExamples(t *testing.T) {
	t.Parallel()
	for _, text := range examples(t) {
		p, err := policy.Parse([]byte(text))
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		again, err := policy.Append(nil, p)
		if err != nil || string(again) != text {
			t.Errorf("printed as\n%s\n%v; the page has\n%s", again, err, text)
		}
	}
}

type row struct{ kind, meaning string }

// table gives the rows of docs/policy.md by member.
func table(t *testing.T) map[string]row {
	t.Helper()
	rows := map[string]row{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| (.+) \\|$").FindAllStringSubmatch(page(t), -1) {
		if _, twice := rows[m[1]]; twice {
			t.Errorf("%s stands twice in %s", m[1], docPath)
		}
		rows[m[1]] = row{m[2], m[3]}
	}
	return rows
}

// TestDocsTable: the page lists all members, and no others.
func TestDocsTable(t *testing.T) {
	t.Parallel()
	rows := table(t)
	members(reflect.TypeFor[sigbox.Policy](), "", func(path string, f reflect.Type) {
		if strings.Contains(path, ".extensionsRegExp.") {
			return // as .extensions
		}
		want := kindName(path, f)
		if found := rows[path]; found.kind != want {
			t.Errorf("%s: found %q in %s, expected %q", path, found.kind, docPath, want)
		}
		delete(rows, path)
	})
	for path := range rows {
		t.Errorf("%s: in %s alone", path, docPath)
	}
}

// members calls visit for each member of a struct, those of its members included.
func members(t reflect.Type, path string, visit func(string, reflect.Type)) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := strings.TrimPrefix(path+"."+tagName(f), ".")
		visit(at, f.Type)
		if e := f.Type; e.Kind() == reflect.Slice && e.Elem().Kind() == reflect.Struct && e.Elem() != reflect.TypeFor[sigbox.NamedDigest]() {
			members(e.Elem(), at+"[]", visit)
		} else if e.Kind() == reflect.Struct && e != reflect.TypeFor[time.Time]() {
			members(e, at, visit)
		}
	}
}

func tagName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func kindName(path string, t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t == reflect.TypeFor[sigbox.SubjectPublicKeyInfo]():
		return "PEM"
	case t == reflect.TypeFor[sigbox.KeyDetails]():
		return "name"
	case t.Kind() == reflect.Struct:
		return "object"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Int:
		return "number"
	case strings.HasSuffix(path, "RegExp"):
		return "regular expression"
	}
	return "text"
}

// TestSchema holds docs/policy.schema.json to the types of the root package and
// the table of docs/policy.md, of which it is made.
func TestSchema(t *testing.T) {
	t.Parallel()
	s := schemaOf(table(t), "", reflect.TypeFor[sigbox.Policy]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "sigbox verification policy"
	want, err := json.Marshal(s, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(schemaPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaPath)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is out of date: go test -run TestSchema ./wire/policy -update rewrites it", schemaPath)
	}
}

type schema map[string]any

func schemaOf(rows map[string]row, path string, t reflect.Type) schema {
	s := schema{}
	switch {
	case t == reflect.TypeFor[time.Time]():
		s["type"], s["format"] = "string", "date-time"
	case t == reflect.TypeFor[sigbox.SubjectPublicKeyInfo]():
		s["type"], s["pattern"] = "string", "-----BEGIN PUBLIC KEY-----"
	case t == reflect.TypeFor[sigbox.NamedDigest]():
		s["type"], s["pattern"] = "string", "^[!-9;-~]+:[!-~]+$"
	case t == reflect.TypeFor[sigbox.KeyDetails]():
		s["enum"] = algorithms()
	case t.Kind() == reflect.Struct:
		structSchema(s, rows, path, t)
	case t.Kind() == reflect.Slice:
		s["type"], s["minItems"], s["maxItems"], s["uniqueItems"] = "array", 1, sigbox.MaxPolicyEntries, true
		s["items"] = schemaOf(rows, path+"[]", t.Elem())
	case t.Kind() == reflect.Int:
		s["type"], s["minimum"] = "integer", 1
	default:
		s["type"], s["minLength"], s["maxLength"] = "string", 1, sigbox.MaxPolicyText
	}
	if r, ok := rows[strings.Replace(path, ".extensionsRegExp.", ".extensions.", 1)]; ok {
		s["description"] = r.meaning
	}
	return s
}

func structSchema(s schema, rows map[string]row, path string, t reflect.Type) {
	properties := schema{}
	for i := range t.NumField() {
		name := tagName(t.Field(i))
		properties[name] = schemaOf(rows, strings.TrimPrefix(path+"."+name, "."), t.Field(i).Type)
	}
	s["type"], s["additionalProperties"], s["minProperties"], s["properties"] = "object", false, 1, properties
	either := func(names ...string) []schema {
		var out []schema
		for _, n := range names {
			out = append(out, schema{"required": []string{n}})
		}
		return out
	}
	switch t {
	case reflect.TypeFor[sigbox.Policy]():
		s["anyOf"] = either("identities", "keys")
	case reflect.TypeFor[sigbox.IdentityMatch]():
		s["allOf"] = []schema{{"oneOf": either("subject", "subjectRegExp")}, {"oneOf": either("issuer", "issuerRegExp")}}
	case reflect.TypeFor[sigbox.PublicKey]():
		s["required"] = []string{"publicKey"}
	}
}

// algorithms gives the names of those that there are.
func algorithms() []string {
	var names []string
	for k := range sigbox.KeyDetails(255) {
		if k.Valid() {
			names = append(names, k.String())
		}
	}
	slices.Sort(names)
	return names
}
