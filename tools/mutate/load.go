package main

import (
	"bytes"
	"context"
	_ "embed" // for the switch
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// pkg is a package with its mutants.
type pkg struct {
	path   string // below the module, "." for its root
	dir    string
	name   string
	files  []string
	judged bool
	first  int // number of its first site
	sites  []*site
	// mutated are the sources with all mutants in them, by file.
	mutated map[string][]byte
}

// load finds the sites of all packages.
func load(ctx context.Context, judged, others []string) ([]*pkg, error) {
	var packages []*pkg
	next := 1
	for i, patterns := range [][]string{judged, others} {
		if len(patterns) == 0 {
			continue
		}
		found, err := list(ctx, patterns)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			p.judged, p.first, p.mutated = i == 0, next, map[string][]byte{}
			for _, name := range p.files {
				path := filepath.Join(p.dir, name)
				source, err := os.ReadFile(path)
				if err != nil {
					return nil, err
				}
				if p.mutated[path], err = p.find(path, source); err != nil {
					return nil, err
				}
			}
			next += len(p.sites)
			packages = append(packages, p)
		}
	}
	return packages, nil
}

// list asks the go command for packages.
func list(ctx context.Context, patterns []string) ([]*pkg, error) {
	out, err := output(ctx, "go", append([]string{"list", "-json=Dir,ImportPath,Name,GoFiles,Module"}, patterns...)...)
	if err != nil {
		return nil, err
	}
	var packages []*pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir, ImportPath, Name string
			GoFiles               []string
			Module                struct{ Path string }
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		path := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, p.Module.Path), "/")
		if path == "" {
			path = "."
		}
		packages = append(packages, &pkg{path: path, dir: p.Dir, name: p.Name, files: p.GoFiles})
	}
}

func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...) // #nosec G204 -- the go command
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, args[0], err, stderr.Bytes())
	}
	return out, nil
}

// mutantSwitch is what each mutated package gets besides.
//
//go:embed switch.go.txt
var mutantSwitch string

// overlay writes the mutated sources below dir and gives the file that tells the
// go command of them.
func overlay(dir string, packages []*pkg) (string, error) {
	replace := map[string]string{}
	write := func(path string, source []byte) error {
		to := filepath.Join(dir, fmt.Sprintf("source%d.go", len(replace)))
		replace[path] = to
		return os.WriteFile(to, source, 0o600)
	}
	for _, p := range packages {
		for _, name := range p.files {
			path := filepath.Join(p.dir, name)
			if err := write(path, p.mutated[path]); err != nil {
				return "", err
			}
		}
		header := "package " + p.name + "\n\nimport (\n\t\"os\"\n\t\"strconv\"\n\t\"syscall\"\n)\n\n"
		if err := write(filepath.Join(p.dir, "zz_mutant.go"), []byte(header+mutantSwitch)); err != nil {
			return "", err
		}
	}
	doc, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, doc, 0o600)
}
