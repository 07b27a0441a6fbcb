package remote

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sigbox/sigbox"
)

// mirrored writes a repository to a directory.
func mirrored(t *testing.T, files map[string][]byte) (dir, mirror string) {
	t.Helper()
	dir = t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mirror, err := FileMirror(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, mirror
}

func (r *tufRepo) inDirectory(t *testing.T, files map[string][]byte, root []byte) (*TUFClient, string) {
	t.Helper()
	dir, mirror := mirrored(t, files)
	return New(Config{Now: r.clock}).TUF(TUFConfig{Mirror: mirror, Root: root}), dir
}

// TestRepository: a whole repository is taken, from wherever the client's trust begins,
// and what was taken is one that clients can follow.
func TestRepository(t *testing.T) {
	r := newTUFRepo(t)
	for v := 2; v <= 4; v++ {
		r.put(fmt.Sprintf("%d.root.json", v), r.sign(r.root(v)))
	}
	r.publish(2, "two")
	for begin := 1; begin <= 4; begin++ {
		c := r.follow("")
		c.cfg.Root = r.files[fmt.Sprintf("%d.root.json", begin)]
		got, err := c.Repository(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Root, r.files["4.root.json"]) || string(got.Targets[TrustedRootTarget]) != "two" || len(got.Files) != 9 {
			t.Errorf("from root %d: unexpected files %v", begin, slices.Sorted(maps.Keys(got.Files)))
		}
		copied, _ := r.inDirectory(t, got.Files, r.files["1.root.json"])
		again, err := copied.Repository(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(got.Files, again.Files, bytes.Equal) {
			t.Error("a copy of the copy is another one")
		}
	}
}

// TestRepositoryFromItsMiddle: a mirror may lack the first roots.
func TestRepositoryFromItsMiddle(t *testing.T) {
	r := newTUFRepo(t)
	r.put("2.root.json", r.sign(r.root(2)))
	files := maps.Clone(r.files)
	delete(files, "1.root.json")
	c, _ := r.inDirectory(t, files, r.files["2.root.json"])
	got, err := c.Repository(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := got.Files["1.root.json"]; ok || len(got.Files) != 6 {
		t.Errorf("unexpected files %v", slices.Sorted(maps.Keys(got.Files)))
	}
}

// TestHostileRepository: what is not verified is not taken.
func TestHostileRepository(t *testing.T) {
	r, stranger := newTUFRepo(t), newTUFRepo(t)
	r.put("2.root.json", r.sign(r.root(2)))
	pinned := r.files["2.root.json"]
	huge := bytes.Repeat([]byte(" "), maxTUFRoot+1)
	for what, change := range map[string]func(map[string][]byte){
		"an earlier root of somebody else": func(f map[string][]byte) { f["1.root.json"] = stranger.files["1.root.json"] },
		"an earlier root of another version": func(f map[string][]byte) {
			f["1.root.json"] = r.sign(r.root(7))
		},
		"an earlier root that is none":   func(f map[string][]byte) { f["1.root.json"] = []byte(`{}`) },
		"an earlier root without end":    func(f map[string][]byte) { f["1.root.json"] = huge },
		"a later root of somebody else":  func(f map[string][]byte) { f["3.root.json"] = stranger.sign(stranger.root(3)) },
		"a timestamp of somebody else":   func(f map[string][]byte) { f["timestamp.json"] = stranger.files["timestamp.json"] },
		"a target with something else":   func(f map[string][]byte) { change(f, "targets/", "x") },
		"no timestamp":                   func(f map[string][]byte) { delete(f, "timestamp.json") },
		"a target's name that is a path": func(f map[string][]byte) { r.listPath(f) },
	} {
		files := maps.Clone(r.files)
		change(files)
		c, _ := r.inDirectory(t, files, pinned)
		if got, err := c.Repository(t.Context()); err == nil {
			t.Errorf("%s: taken, %v", what, slices.Sorted(maps.Keys(got.Files)))
		}
	}
}

// change replaces the files with a prefix.
func change(files map[string][]byte, prefix, data string) {
	for name := range files {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			files[name] = []byte(data)
		}
	}
}

// listPath has a repository list a target outside of its directory.
func (r *tufRepo) listPath(files map[string][]byte) {
	hash := fmt.Sprintf("%064x", 0)
	targets := r.signed("targets", 9, object{"targets": object{"../../outside": object{"length": 1, "hashes": object{"sha256": hash}}}})
	r.publishTargets(9, targets)
	maps.Copy(files, r.files)
}

// TestRepositoryRollback: a cache that is newer than a mirror is not ignored.
func TestRepositoryRollback(t *testing.T) {
	r := newTUFRepo(t)
	older := maps.Clone(r.files)
	r.publish(2, "two")
	dir := t.TempDir()
	c := r.follow(dir)
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, cacheFile))
	if err != nil {
		t.Fatal(err)
	}
	_, mirror := mirrored(t, older)
	c.cfg.Mirror = mirror
	_, err = c.Repository(t.Context())
	wantError(t, err, sigbox.NotVerified)
	after, err := os.ReadFile(filepath.Join(dir, cacheFile))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the cache was changed, %v", err)
	}
}

// TestFileMirrorStaysInside: what a repository in a directory names is in it.
func TestFileMirrorStaysInside(t *testing.T) {
	r := newTUFRepo(t)
	c, dir := r.inDirectory(t, r.files, r.files["1.root.json"])
	outside := filepath.Join(t.TempDir(), "timestamp.json")
	if err := os.WriteFile(outside, r.files["timestamp.json"], 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "timestamp.json")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, path); err != nil {
		t.Skip(err)
	}
	if _, err := c.Repository(t.Context()); err == nil {
		t.Error("a link out of the directory was followed")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Repository(t.Context()); err == nil {
		t.Error("a directory was read as a file")
	}
	if _, err := ReadMirror("https://box.example", "root.json", 1); err == nil {
		t.Error("a URL was read as a directory")
	}
}

// TestFileMirrorRefresh: an instance can be followed in a directory.
func TestFileMirrorRefresh(t *testing.T) {
	r := newTUFRepo(t)
	c, dir := r.inDirectory(t, r.files, r.files["1.root.json"])
	c.cfg.Dir = t.TempDir()
	got, err := c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "one")
	r.publish(2, "two")
	for name, data := range r.files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.pass(2 * tufDay)
	got, err = c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "two")
}
