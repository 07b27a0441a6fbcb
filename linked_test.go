package sigbox_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxProgram is how large the program may be, in bytes, as a release is built for
// linux/amd64. Each call pays for a part of it in memory.
const maxProgram = 36e6

// TestMethodsArePruned holds that the program finds no method by a name that is
// known at run time only (reflect's Method and MethodByName). As soon as one
// function that does is reachable, the linker keeps every exported method of every
// type: the program grows by a fourth, and each call takes 2 MB more of memory.
// text/template and html/template do; encoding/json, encoding/gob and fmt do not.
func TestMethodsArePruned(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the whole program")
	}
	program := filepath.Join(t.TempDir(), "sigbox")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w -dumpdep", "-o", program, "./cmd/sigbox")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out[max(0, len(out)-4096):])
	}
	graph := newLinkGraph(out)
	if len(graph.parents) == 0 {
		t.Fatal("the linker has not said what needs what")
	}
	if graph.byName != "" {
		t.Errorf("all methods are linked, because one is found by name in %s", strings.Join(graph.path(graph.byName), "\n\tneeded by "))
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxProgram {
		t.Errorf("the program has %.1f MB, at most %.1f are wanted: see what came in with deps.txt", float64(info.Size())/1e6, maxProgram/1e6)
	}
}

// linkGraph is what the linker says of the symbols that are reachable.
type linkGraph struct {
	parents map[string]string // of each symbol, the one that first needed it
	byName  string            // the first that finds methods by name, "" if there is none
}

// newLinkGraph reads what the linker writes with -dumpdep: a line "PARENT -> CHILD"
// for each symbol when it is found, names followed by their marks.
func newLinkGraph(out []byte) linkGraph {
	graph := linkGraph{parents: map[string]string{}}
	for line := range bytes.Lines(out) {
		parent, child, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " -> ")
		if !ok {
			continue
		}
		symbol, marks, _ := strings.Cut(child, " <")
		if _, seen := graph.parents[symbol]; seen {
			continue
		}
		parent, _, _ = strings.Cut(parent, " <")
		graph.parents[symbol] = parent
		if graph.byName == "" && strings.Contains(marks, "ReflectMethod>") {
			graph.byName = symbol
		}
	}
	return graph
}

// path is the symbol, what needs it, what needs that, and so on.
func (g linkGraph) path(symbol string) []string {
	var path []string
	for symbol != "" && !slices.Contains(path, symbol) {
		path = append(path, symbol)
		symbol = g.parents[symbol]
	}
	return path
}
