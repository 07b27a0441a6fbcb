package tuf

import (
	"os"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/tufroot"
)

// load reads what is published and checks it, expired or not: each root by the one
// before and by itself, everything else by the root, and that files are those that are referred to.
func (r *Repository) load() (files map[string][]byte, err error) {
	roots, err := r.scan()
	if err != nil {
		return nil, err
	}
	l := &loader{repo: r, files: map[string][]byte{}}
	if roots > 0 {
		l.roots(roots)
		l.metadata()
	} else if r.state.next.targets > 1 {
		l.err = damaged("1.root.json")
	}
	return l.files, l.err
}

// scan finds the number of roots and the versions of targets and snapshot that
// were ever written, whether or not they were published.
func (r *Repository) scan() (roots int64, err error) {
	entries, err := os.ReadDir(r.cfg.Dir)
	if err != nil {
		return 0, sigbox.Errorf(sigbox.Internal, "cannot read the TUF repository: %w", err)
	}
	highest := map[string]int64{}
	for _, e := range entries {
		number, role, _ := strings.Cut(e.Name(), ".")
		if n, err := strconv.ParseInt(number, 10, 63); err == nil && n > highest[role] {
			highest[role] = n
		}
	}
	r.state.next.targets = highest["targets.json"] + 1
	r.state.next.snapshot = highest["snapshot.json"] + 1
	return highest["root.json"], nil
}

// loader reads the repository's files until the first error.
type loader struct {
	repo  *Repository
	files map[string][]byte
	err   error
}

// damaged is the error for a directory that no crash can leave behind.
func damaged(name string) error {
	return sigbox.Errorf(sigbox.Fatal, "the TUF repository's file %s is missing or damaged", name).
		WithHint("restore the repository's directory from a backup; if there is none, move it away and give all clients the new root.json")
}

// file reads a file that must be there.
func (l *loader) file(name string) []byte {
	if l.err != nil {
		return nil
	}
	b, err := l.repo.read(name)
	if err != nil || b == nil {
		l.err = damaged(name)
		return nil
	}
	l.files[name] = b
	return b
}

// roots reads every root, since clients ask for all that follow theirs.
func (l *loader) roots(n int64) {
	var root *tufroot.Root
	for v := int64(1); v <= n && l.err == nil; v++ {
		name := versioned(v, metadata.ROOT)
		next := l.root(name, l.file(name))
		if l.err != nil {
			return
		}
		before := root
		if before == nil { // the first vouches for itself
			before = &tufroot.Root{Version: 0, Root: next.Root}
		}
		if tufroot.Follows(before, next) != nil {
			l.err = damaged(name)
			return
		}
		root = next
		l.files["root.json"] = l.files[name]
		for _, k := range root.Root.Keys {
			l.repo.rootKeys[k.ID] = true
		}
	}
	l.repo.state.root = root
}

// root reads a root.
func (l *loader) root(name string, data []byte) *tufroot.Root {
	if l.err != nil {
		return nil
	}
	root, err := tufroot.Parse(data)
	if err != nil {
		l.err = damaged(name)
	}
	return root
}

// metadata reads what timestamp.json leads to. Without it nothing was published
// yet: a crash before the first publication was complete.
func (l *loader) metadata() {
	st := &l.repo.state
	if b, err := l.repo.read(timestampFile); l.err != nil || b == nil && err == nil && st.unpublished() {
		return
	}
	st.timestamp = parse[metadata.TimestampType](l, timestampFile, l.file(timestampFile))
	if l.err != nil {
		return
	}
	version := follow(l, timestampFile, st.timestamp.Signed.Meta, metadata.SNAPSHOT)
	name := versioned(version, metadata.SNAPSHOT)
	st.snapshot = parse[metadata.SnapshotType](l, name, l.files[name])
	if l.err != nil {
		return
	}
	version = follow(l, name, st.snapshot.Signed.Meta, metadata.TARGETS)
	name = versioned(version, metadata.TARGETS)
	st.targets = parse[metadata.TargetsType](l, name, l.files[name])
	l.check()
	l.targets()
}

// unpublished reports whether what was written can be all of a first publication
// that was not completed.
func (st *state) unpublished() bool {
	return st.root.Version == 1 && st.next.targets <= 2 && st.next.snapshot <= 2
}

// follow reads the file of role that meta of a file describes.
func follow(l *loader, from string, meta map[string]*metadata.MetaFiles, role string) int64 {
	m := meta[role+".json"]
	if m == nil {
		l.err = damaged(from)
		return 0
	}
	name := versioned(m.Version, role)
	if data := l.file(name); l.err == nil && m.VerifyLengthHashes(data) != nil {
		l.err = damaged(name)
	}
	return m.Version
}

// check verifies the signatures below the root. A crash between a root that names
// a new key and the metadata signed by it leaves some that only the root before
// accepts: then all of it is due.
func (l *loader) check() {
	if l.err != nil {
		return
	}
	st := &l.repo.state
	if st.signedBy(st.root) {
		return
	}
	if before := st.root.Version - 1; before > 0 {
		name := versioned(before, metadata.ROOT)
		if root := l.root(name, l.files[name]); l.err == nil && st.signedBy(root) {
			st.age()
			return
		}
	}
	l.err = damaged(timestampFile)
}

// signedBy reports whether all that root delegates is signed with root's keys.
func (st *state) signedBy(r *tufroot.Root) bool {
	root := r.Metadata()
	return root.VerifyDelegate(metadata.TIMESTAMP, st.timestamp) == nil &&
		root.VerifyDelegate(metadata.SNAPSHOT, st.snapshot) == nil &&
		root.VerifyDelegate(metadata.TARGETS, st.targets) == nil
}

// age makes what is published due, all of it.
func (st *state) age() {
	st.targets.Signed.Expires = st.targets.Signed.Expires.Add(-targetsPeriod)
	st.snapshot.Signed.Expires = st.snapshot.Signed.Expires.Add(-targetsPeriod)
	st.timestamp.Signed.Expires = st.timestamp.Signed.Expires.Add(-timestampPeriod)
}

// targets reads the targets' files.
func (l *loader) targets() {
	if l.err != nil {
		return
	}
	for name, t := range l.repo.state.targets.Signed.Targets {
		if !validName(name) || t == nil {
			l.err = damaged("targets.json")
			return
		}
		path := targetPath(name, t)
		if data := l.file(path); l.err == nil && t.VerifyLengthHashes(data) != nil {
			l.err = damaged(path)
		}
	}
}

// parse reads metadata of a role.
func parse[T metadata.Roles](l *loader, name string, data []byte) *metadata.Metadata[T] {
	if l.err != nil {
		return nil
	}
	m, err := new(metadata.Metadata[T]).FromBytes(data)
	if err != nil {
		l.err = damaged(name)
		return nil
	}
	return m
}
