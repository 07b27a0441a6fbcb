package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/doctor"
	"github.com/sigbox/sigbox/oci"
)

// printed are the values that verbs print as JSON, by their headings in
// docs/json.md.
func printed() map[string]any {
	return map[string]any{
		"sign": signReport{}, "verify": verifyReport{}, "inspect": inspection{}, "instance list": []instanceJSON{},
		"tree": treeReport{}, "copy": copyReport{}, "download": downloadReport{}, "clean": cleanReport{},
		"log get": []provenJSON{}, "log search": searchJSON{}, "log prove": proofJSON{}, "log prove --from": continuationJSON{},
		"log fsck": []fsckJSON{}, "log stats": statsJSON{}, "instance show": shownJSON{}, "status": app.Status{}, "rotate": []app.RoleKeys{}, "doctor": doctor.Report{}, "user list": []app.User{}, "token": tokenJSON{}, "token explain": explainedJSON{}, "version": versionInfo{}, "trust export": exportJSON{}, "ceremony accept": app.CeremonyAccepted{},
	}
}

var (
	heading = regexp.MustCompile(`^## (.+)$`)
	member  = regexp.MustCompile("^\\| `([^`]+)` \\| ([a-z ]+) \\| (always|not always) \\| .*\\|$")
	named   = regexp.MustCompile("^\\| `([^`]+)` \\| ([0-9]+) \\|$")
)

// documented reads the members that docs/json.md lists, by heading: path to type,
// with a question mark for what is not always there.
func documented(t *testing.T) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]string{}
	var section string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if m := heading.FindStringSubmatch(line); m != nil {
			section = m[1]
			all[section] = map[string]string{}
		} else if m := member.FindStringSubmatch(line); m != nil {
			all[section][m[1]] = m[2] + map[string]string{"always": "", "not always": "?"}[m[3]]
		} else if m := named.FindStringSubmatch(line); m != nil {
			all[section][m[1]] = m[2]
		} else if strings.HasPrefix(line, "| `") {
			t.Errorf("docs/json.md: unreadable line %s", line)
		}
	}
	return all
}

// members lists those of a type as docs/json.md does.
func members(at string, typ reflect.Type, out map[string]string) {
	switch {
	case typ.Kind() == reflect.Slice:
		members(at+"[]", typ.Elem(), out)
	case typ.Kind() == reflect.Pointer:
		members(at, typ.Elem(), out)
	case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]():
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Anonymous:
				members(at, f.Type, out)
			case f.IsExported():
				path := strings.TrimPrefix(at+"."+name, ".")
				out[path] = jsonType(f.Type)
				if strings.Contains(options, "omit") {
					out[path] += "?"
				}
				members(path, f.Type, out)
			}
		}
	}
}

func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonType(t.Elem())
	case reflect.Slice:
		if e := jsonType(t.Elem()); e != "object" {
			return "list of " + e + "s"
		}
		return "list"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		return "number"
	}
	if t == reflect.TypeFor[time.Time]() {
		return "string"
	}
	return "object"
}

// TestJSONDocumented: docs/json.md lists what is printed, no more and no less.
func TestJSONDocumented(t *testing.T) {
	doc := documented(t)
	for verb, v := range printed() {
		want := map[string]string{}
		members("", reflect.TypeOf(v), want)
		if diff := cmp.Diff(want, doc[verb]); diff != "" {
			t.Errorf("%s: printed (-) and documented (+):\n%s", verb, diff)
		}
	}
	want := map[string]string{}
	for arc := range sigbox.MaxExtensionArc + 1 {
		if name, value := new(sigbox.Extensions).Field(arc); value != nil {
			want[name] = strconv.Itoa(arc)
		}
	}
	if diff := cmp.Diff(want, doc["Extensions"]); diff != "" {
		t.Errorf("extensions: printed (-) and documented (+):\n%s", diff)
	}
}

// paths lists the members of a JSON value.
func paths(at string, v any, out map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			paths(at+"[]", e, out)
		}
	case map[string]any:
		for name, e := range v {
			path := strings.TrimPrefix(at+"."+name, ".")
			out[path] = true
			if name != "extensions" && name != "digest" { // named by what they hold
				paths(path, e, out)
			}
		}
	}
}

// TestJSONPrinted: what verbs print in fact is what docs/json.md says, and what is
// always there is there.
func TestJSONPrinted(t *testing.T) {
	a := apptest.Start(t)
	b := newBench(t)
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	b.vars["SIGBOX_INSTANCE"] = "box"
	if err := a.Admin().AddUser(t.Context(), app.NewUser{Email: "ada@example.com", Password: "correct horse battery staple"}); err != nil {
		t.Fatal(err)
	}
	token := apptest.Token(t, a, "ada@example.com")
	signed, unsigned := b.file("a.txt", "hello\n"), b.file("b.txt", "hello\n")
	statement := b.file("statement.json", `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"}}],"predicateType":"https://example.com/p","predicate":{}}`)
	who := []string{"--certificate-identity", "ada@example.com", "--certificate-oidc-issuer", a.URL() + "/oidc"}
	saved := filepath.Join(t.TempDir(), "checkpoint")
	image := startRegistry(t, nil) + "/acme/app"
	pushIndex(t, image+":v1")
	b.must("sign", "--identity-token", token, image+":v1")
	if err := oci.New(oci.Config{}).AttachLegacy(t.Context(), pushImage(t, image+":v2"), oci.SBOM, "text/spdx+json", []byte("{}"), nil); err != nil {
		t.Fatal(err)
	}
	doc := documented(t)
	for _, tt := range []struct {
		verb   string
		status int
		args   []string
	}{
		{"sign", exitOK, []string{"--identity-token", token, signed}},
		{"sign", exitOK, []string{"--identity-token", token, "--in-toto", statement}},
		{"verify", exitNotVerified, append(who, "--explain", signed, unsigned)},
		{"verify", exitOK, append(who, "--type", "any", "--bundle", statement+bundleSuffix, signed)},
		{"inspect", exitOK, []string{signed}},
		{"inspect", exitOK, []string{statement}},
		{"inspect", exitOK, []string{image + ":v1"}},
		{"tree", exitOK, []string{image + ":v1"}},
		{"tree", exitOK, []string{"--insecure-registry", image + ":v2"}},
		{"copy", exitOK, []string{image + ":v1", image + ":v3"}},
		{"download", exitOK, []string{"--dir", t.TempDir(), image + ":v1"}},
		{"clean", exitOK, []string{"--yes", image + ":v2"}},
		{"log get", exitOK, []string{"0"}},
		{"log get", exitOK, []string{"--log", "v1", "0"}},
		{"log search", exitOK, []string{"--file", signed}},
		{"log prove", exitOK, []string{"0"}},
		{"log fsck", exitOK, nil},
		{"log stats", exitOK, []string{"--save", saved}},
		{"log prove --from", exitOK, []string{saved}},
		{"instance list", exitOK, nil},
		{"instance show", exitOK, nil},
		{"status", exitOK, []string{"--data", a.Data()}},
		{"doctor", exitOK, []string{"--data", a.Data()}},
		{"user list", exitOK, []string{"--data", a.Data()}},
		{"token", exitOK, []string{"--data", a.Data(), "--email", "ada@example.com"}},
		{"token explain", exitOK, []string{"--data", a.Data(), token}},
		{"token explain", exitNotVerified, []string{"--data", a.Data(), "eyJ9.eyJ9.AA"}},
		{"trust export", exitOK, []string{"--data", a.Data(), "--out", t.TempDir()}},
		{"trust export", exitOK, []string{"--instance", "box", "--tar", filepath.Join(t.TempDir(), "t.tgz")}},
		{"version", exitOK, nil},
	} {
		t.Run(fmt.Sprint(tt.verb, len(tt.args)), func(t *testing.T) {
			if status := b.run(slices.Concat(strings.Fields(tt.verb), tt.args, []string{"-o", "json"})...); status != tt.status {
				t.Fatalf("status %d: %s", status, &b.stderr)
			}
			var v any
			if err := json.Unmarshal(b.stdout.Bytes(), &v); err != nil {
				t.Fatal(err)
			}
			found := map[string]bool{}
			paths("", v, found)
			for _, path := range slices.Sorted(maps.Keys(found)) {
				if doc[tt.verb][path] == "" {
					t.Errorf("%s is printed and not documented", path)
				}
			}
			for path, typ := range doc[tt.verb] {
				at := max(strings.LastIndexByte(path, '.'), 0)
				parent := strings.TrimSuffix(path[:at], "[]")
				if !strings.HasSuffix(typ, "?") && !strings.Contains(path, "[]") && !found[path] && (parent == "" || found[parent]) {
					t.Errorf("%s is documented to be always there, and is not", path)
				}
			}
		})
	}
}
