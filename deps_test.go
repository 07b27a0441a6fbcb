package sigbox_test

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite deps.txt")

// maxModules is how many modules the binary may link; cosign links 287.
const maxModules = 110

// TestDeps holds deps.txt to what cmd/sigbox links, so that a module does not
// come in unseen: the change of the file is reviewed.
func TestDeps(t *testing.T) {
	got := linkedModules(t, "./cmd/sigbox")
	if len(got) > maxModules {
		t.Errorf("the binary links %d modules, at most %d are wanted", len(got), maxModules)
	}
	text := strings.Join(got, "\n") + "\n"
	if *update {
		if err := os.WriteFile("deps.txt", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("deps.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == text {
		return
	}
	listed := strings.Fields(string(want))
	for _, m := range got {
		if !slices.Contains(listed, m) {
			t.Errorf("linked, not in deps.txt: %s", m)
		}
	}
	for _, m := range listed {
		if !slices.Contains(got, m) {
			t.Errorf("in deps.txt, not linked: %s", m)
		}
	}
	t.Log("go test -run TestDeps . -update rewrites deps.txt")
}

// TestLibraryDeps: who verifies brings no more along than README says.
func TestLibraryDeps(t *testing.T) {
	want := []string{"github.com/go-json-experiment/json", "golang.org/x/crypto", "golang.org/x/mod"}
	if got := linkedModules(t, "./verify"); !slices.Equal(got, want) {
		t.Errorf("package verify needs %v, expected %v", got, want)
	}
}

// linkedModules gives the modules of a package and of what it imports, as a release is
// built.
func linkedModules(t *testing.T, path string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", path)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	return slices.Compact(modules)
}
