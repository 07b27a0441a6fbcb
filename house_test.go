package sigbox_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path that our own imports begin with.
const module = "github.com/sigbox/sigbox"

// room is a package, or with all below it a family of packages, and what it may
// know of the house. docs/architecture.md draws the same.
type room struct {
	path  string // below the module, "" for the root itself
	floor int
	// knows are rooms of the same floor that it may import; its own subpackages
	// are always allowed.
	knows []string
	// below, if not nil, is all that it may import of lower floors.
	below []string
	// bans are packages that it must not import, whatever else it may.
	bans []string
}

// io are the packages by which bytes, time and talk come in from outside.
var io = []string{"context", "log", "log/slog", "net", "net/http", "os", "os/exec", "syscall"}

// services meet through the interfaces of the root package.
func service(name string, below ...string) room {
	return room{path: "internal/" + name, floor: 3, below: append(below, "", "wire", "internal/tlog", "internal/store", "internal/atomicfile", "internal/gate", "internal/clock")}
}

// rooms is the house, the more special before the more general.
var rooms = []room{
	{path: "cmd", floor: 6},
	{path: "internal/app", floor: 5, knows: []string{"internal/app"}},
	{path: "internal/doctor", floor: 5, knows: []string{"internal/app"}, below: []string{"", "wire", "internal/remote"}},

	{path: "internal/httpapi", floor: 4},
	{path: "internal/remote", floor: 4, below: []string{"", "wire", "sign", "internal/atomicfile", "internal/instance", "internal/ca"}}, // ca has the shape of issuers' keys
	{path: "internal/ceremony", floor: 4, below: []string{"", "wire", "internal/atomicfile", "internal/jsonerr", "internal/ca", "internal/tsa"}, bans: []string{"net", "net/http", "os/exec"}},
	{path: "internal/web", floor: 4, below: []string{"", "internal/oidc"}},

	{path: "sigboxtest", floor: 4},

	{path: "verify/condition", floor: 3, knows: []string{"verify"}, below: []string{"", "wire"}, bans: io},
	{path: "verify", floor: 3, below: []string{"", "wire"}, bans: io},
	{path: "sign", floor: 3, below: []string{"", "wire"}, knows: []string{"verify"}, bans: []string{"net", "net/http"}},
	{path: "internal/parts", floor: 3, below: []string{"", "wire/trust", "internal/atomicfile", "internal/jsonerr"}, bans: []string{"net", "net/http", "os/exec"}},
	{path: "internal/handout", floor: 3, below: []string{"", "wire/trust", "internal/atomicfile"}},
	{path: "internal/instance", floor: 3, below: []string{"", "wire", "internal/atomicfile", "internal/jsonerr"}},
	service("ca"), service("ctlog"), service("rekor"), service("rekor1"), service("search"), service("tsa"), service("tuf"), service("oidc"),

	{path: "oci", floor: 2, knows: []string{"internal/atomicfile"}, below: []string{"", "wire"}},
	{path: "internal/tlog", floor: 2, knows: []string{"internal/store"}, below: []string{"", "wire/note"}},
	{path: "internal/store", floor: 2, knows: []string{"internal/atomicfile"}, below: []string{""}},
	{path: "internal/keys", floor: 2, knows: []string{"internal/atomicfile"}, below: []string{"", "internal/jsonerr"}},
	{path: "internal/atomicfile", floor: 2, below: []string{""}},
	{path: "internal/rotation", floor: 2, below: []string{""}, bans: io},
	{path: "internal/clock/clocktest", floor: 1, below: []string{}},
	{path: "internal/clock", floor: 2, below: []string{""}, bans: []string{"net/http", "os"}},
	{path: "internal/gate", floor: 2, below: []string{""}, bans: []string{"net", "net/http", "os"}},
	{path: "internal/limit", floor: 2, below: []string{""}},
	{path: "internal/audit", floor: 2, below: []string{""}},
	{path: "internal/jsonerr", floor: 1, knows: []string{""}, bans: io},
	{path: "internal/fixture", floor: 1, knows: []string{""}},
	{path: "internal/hostile", floor: 1, below: []string{}},
	{path: "internal/flawed", floor: 1, below: []string{}},
	{path: "internal/unprivileged", floor: 1, below: []string{}},

	// Bundles of another shape.
	{path: "wire/cosign", floor: 1, knows: []string{"", "internal/jsonerr", "wire/bundle", "wire/entry", "wire/internal", "wire/statement"}, bans: io},
	// Predicates stand in statements.
	{path: "wire/predicate", floor: 1, knows: []string{"", "internal/jsonerr", "wire/statement"}, bans: io},
	// Requests and answers hold TUF roots.
	{path: "wire/ceremony", floor: 1, knows: []string{"", "internal/jsonerr", "wire/tufroot"}, bans: io},
	// A bundle holds log entries.
	{path: "wire/bundle", floor: 1, knows: []string{"", "internal/jsonerr", "wire/entry", "wire/internal"}, bans: io},
	{path: "wire", floor: 1, knows: []string{"", "internal/jsonerr"}, bans: io},
	{path: "", floor: 1},
}

// only names the few rooms that may import a package.
var only = map[string][]string{
	"net/http":                           {"cmd", "internal/app", "internal/httpapi", "internal/remote", "internal/web", "internal/oidc", "internal/store/s3", "internal/keys/vault", "oci"},
	module + "/internal/store/pebble":    {"internal/app"},
	module + "/internal/store/dir":       {"internal/app"},
	module + "/internal/store/s3":        {"internal/app"},
	module + "/internal/store/memory":    {"internal/app", "sigboxtest", "internal/store"},
	module + "/internal/store/storetest": {},
	"crypto/tls":                         {"internal/app", "internal/remote", "internal/keys/vault", "oci"},
	"github.com/spf13/cobra":             {"cmd"},
	"cel.dev/cel-go/cel":                 {"verify/condition"},
	"testing":                            {"internal/store/storetest", "sigboxtest", "internal/app/apptest", "internal/clock/clocktest", "internal/keys/plugin/plugintest", "internal/fixture", "internal/hostile", "internal/flawed", "internal/unprivileged"},
}

func TestImportsGoDown(t *testing.T) {
	for dir, imports := range packages(t) {
		from, ok := roomOf(dir)
		if !ok {
			t.Errorf("%s: no room of the house; add it to house_test.go and docs/architecture.md", dir)
			continue
		}
		for _, path := range imports {
			if why := from.refuses(dir, path); why != "" {
				t.Errorf("%s must not import %s: %s", orRoot(dir), path, why)
			}
		}
	}
}

// refuses says why a package of the room must not import path, "" if it may.
func (r room) refuses(dir, path string) string {
	if allowed, rare := only[path]; rare && !slices.ContainsFunc(allowed, func(a string) bool { return within(dir, a) }) {
		return "only " + strings.Join(allowed, ", ") + " may"
	}
	if slices.Contains(r.bans, path) {
		return "it has no business with the world outside"
	}
	if path != module && !strings.HasPrefix(path, module+"/") {
		if first, _, _ := strings.Cut(path, "/"); dir == "" && strings.Contains(first, ".") {
			return "the root imports the standard library only"
		}
		return ""
	}
	to := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	return r.refusesOwn(to)
}

// refusesOwn is refuses for a package of this module.
func (r room) refusesOwn(to string) string {
	target, ok := roomOf(to)
	inRoom := func(a string) bool { return to == a || a != "" && within(to, a) }
	switch {
	case !ok:
		return "it is no room of the house"
	case target.path == r.path && (r.path != "wire" || within(to, "wire/internal")):
		return ""
	case target.floor > r.floor:
		return "imports only go down"
	case target.floor == r.floor && !slices.ContainsFunc(r.knows, inRoom):
		return "rooms of a floor do not know each other"
	case target.floor < r.floor && r.below != nil && !slices.ContainsFunc(r.below, inRoom):
		return "it meets that through an interface of the root"
	}
	return ""
}

func roomOf(dir string) (room, bool) {
	for _, r := range rooms {
		if dir == r.path || r.path != "" && within(dir, r.path) {
			return r, true
		}
	}
	return room{}, false
}

// within reports whether a package is another one or below it.
func within(dir, of string) bool { return dir == of || strings.HasPrefix(dir, of+"/") }

func orRoot(dir string) string {
	if dir == "" {
		return "the root"
	}
	return dir
}

// packages gives the imports of every package of this module, tests left out, by
// directory.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string]map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skip(path, d)
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), ".")
		if all[dir] == nil {
			all[dir] = map[string]bool{}
		}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			all[dir][name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sorted := map[string][]string{}
	for dir, imports := range all {
		sorted[dir] = slices.Sorted(maps.Keys(imports))
	}
	return sorted
}

// skip passes over what is not a part of this module.
func skip(path string, d fs.DirEntry) error {
	if path == "." {
		return nil
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	if err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" {
		return fs.SkipDir
	}
	return nil
}
