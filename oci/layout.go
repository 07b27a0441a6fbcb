package oci

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/wire/manifest"
)

// Layout is an image in a directory, for places without network, with all that belongs
// to it. What was saved by cosign is read, and cosign reads what is written.
//
// Source: image-spec v1.1.1, image-layout.md.
type Layout struct {
	Dir string
	// Name is the image's there, org.opencontainers.image.ref.name. When reading, ""
	// is the only one; when writing, "" is without a name.
	Name string
}

// Annotations in a layout's index.
const (
	annotationName = "org.opencontainers.image.ref.name"
	annotationKind = "kind"

	kindPrefix = "dev.cosignproject.cosign/"
	kindImage  = kindPrefix + "image"
	kindIndex  = kindPrefix + "imageIndex"
)

// layoutKinds are cosign's names for what stands under its tags.
var layoutKinds = map[string]string{".sig": kindPrefix + "sigs", ".att": kindPrefix + "atts"}

// layoutVersion is the content of the file oci-layout.
const layoutVersion = `{"imageLayoutVersion":"1.0.0"}`

// directory is a [Layout] as one end of a copy.
type directory struct {
	Layout
	locks *keyed

	mu sync.Mutex
	// index is as it was read, referrers are those that it lists, by subject; both are
	// set once, under mu.
	index     *manifest.Manifest
	referrers map[string][]manifest.Descriptor
	added     []manifest.Descriptor // to the index; guarded by mu
}

func (l Layout) store(c *Client) (store, error) {
	if l.Dir == "" {
		return nil, sigbox.Errorf(sigbox.Invalid, "no directory to copy from or to")
	}
	return &directory{Layout: l, locks: &c.writers}, nil
}

// failure is the error of a file.
func (l Layout) failure(what string, err error) error {
	kind := sigbox.Internal
	if errors.Is(err, fs.ErrNotExist) {
		kind = sigbox.NotFound
	}
	return sigbox.Errorf(kind, "image layout %s: %s", l.Dir, what).WithCause(err)
}

// path is where content of a digest is.
func (l Layout) path(d sigbox.Digest) string {
	return filepath.Join(l.Dir, "blobs", d.Algorithm.String(), d.Hex())
}

// readFile reads a regular file of at most limit bytes.
func (l Layout) readFile(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, l.failure("cannot be read", err)
	}
	defer f.Close() //nolint:errcheck // it is read only
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, l.failure("cannot be read", err)
	}
	if int64(len(b)) > limit {
		return nil, tooLarge(path, int64(len(b)), limit)
	}
	return b, nil
}

// openRegular opens no pipe or device, which might never end.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return os.Open(path)
}

// load reads the index; a directory without one is empty.
func (l *directory) load(ctx context.Context) (*manifest.Manifest, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.index != nil {
		return l.index, nil
	}
	m, err := l.readIndex()
	if err != nil {
		return nil, err
	}
	referrers := map[string][]manifest.Descriptor{}
	for _, d := range m.Manifests {
		if !d.IsManifest() {
			continue
		}
		v, err := l.manifest(ctx, d.Digest)
		if err != nil {
			return nil, err
		}
		one, err := manifest.Parse(v.body)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.KindOf(err), "image layout %s: %s: %w", l.Dir, d.Digest, err)
		}
		if one.Subject != nil {
			key := one.Subject.Digest.String()
			referrers[key] = append(referrers[key], plain(d))
		}
	}
	if len(referrers) == 0 && slices.ContainsFunc(m.Manifests, isCosigns) {
		if err := l.findReferrers(referrers); err != nil {
			return nil, err
		}
	}
	l.index, l.referrers = m, referrers
	return m, nil
}

func isCosigns(d manifest.Descriptor) bool {
	return strings.HasPrefix(d.Annotations[annotationKind], kindPrefix)
}

// findReferrers looks for manifests with a subject among the blobs: cosign saves them,
// and lists them nowhere.
func (l *directory) findReferrers(found map[string][]manifest.Descriptor) error {
	const most = 1 << 16
	dir := filepath.Join(l.Dir, "blobs", sigbox.SHA256.String())
	files, err := os.ReadDir(dir)
	if err != nil {
		return l.failure("cannot be read", err)
	}
	if len(files) > most {
		return sigbox.Errorf(sigbox.TooLarge, "image layout %s: more than %d blobs", l.Dir, most)
	}
	for _, f := range files {
		d, err := sigbox.ParseDigest(sigbox.SHA256.String() + ":" + f.Name())
		if info, ierr := f.Info(); err != nil || ierr != nil || !info.Mode().IsRegular() || info.Size() > manifest.MaxSize {
			continue
		}
		b, err := l.readFile(filepath.Join(dir, f.Name()), manifest.MaxSize)
		if err != nil {
			return err
		}
		m, err := manifest.Parse(b)
		if err != nil || m.Subject == nil || !sigbox.SHA256.Sum(b).Equal(d) {
			continue // content of another kind
		}
		key := m.Subject.Digest.String()
		found[key] = append(found[key], manifest.Descriptor{MediaType: m.Type(), Digest: d, Size: int64(len(b))})
	}
	return nil
}

func (l *directory) readIndex() (*manifest.Manifest, error) {
	b, err := l.readFile(filepath.Join(l.Dir, "index.json"), manifest.MaxSize)
	if sigbox.KindOf(orInternal(err)) == sigbox.NotFound {
		return &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex}, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := manifest.Parse(b)
	if err == nil && !m.IsIndex() {
		err = sigbox.Mismatch(sigbox.Invalid, "media type", manifest.TypeIndex, m.Type())
	}
	if err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "image layout %s: index.json: %w", l.Dir, err)
	}
	return m, nil
}

// orInternal is for asking the kind of an error that may be none.
func orInternal(err error) error {
	if err == nil {
		return fs.ErrInvalid
	}
	return err
}

// plain is a descriptor without what the index adds to it.
func plain(d manifest.Descriptor) manifest.Descriptor {
	d.Annotations, d.Other = nil, nil
	return d
}

// root finds the image: by its name, or the only one that belongs to no other.
func (l *directory) root(ctx context.Context) (manifest.Descriptor, error) {
	m, err := l.load(ctx)
	if err != nil {
		return manifest.Descriptor{}, err
	}
	var images, found []manifest.Descriptor
	for _, d := range m.Manifests {
		if !l.isImage(d) {
			continue
		}
		images = append(images, d)
		if (l.Name == "" || d.Annotations[annotationName] == l.Name) && !hasDigest(found, d.Digest) {
			found = append(found, d)
		}
	}
	if len(found) == 1 {
		return plain(found[0]), nil
	}
	e := sigbox.Errorf(sigbox.NotFound, "image layout %s: expected one image%s, found %d", l.Dir, called(l.Name), len(found))
	if known := names(images); len(known) > 0 {
		e = e.WithHint("name one of them: %s", strings.Join(known, ", "))
	}
	return manifest.Descriptor{}, e
}

// called is the name that is looked for, for people.
func called(name string) string {
	if name == "" {
		return ""
	}
	return " called " + name
}

// names are those of entries, for people.
func names(all []manifest.Descriptor) []string {
	const most = 20
	var out []string
	for _, d := range all {
		if len(out) == most {
			return append(out, "…")
		}
		if n := d.Annotations[annotationName]; n != "" {
			out = append(out, n)
		}
	}
	return out
}

// isImage reports whether an entry stands for itself.
func (l *directory) isImage(d manifest.Descriptor) bool {
	kind := d.Annotations[annotationKind]
	if strings.HasPrefix(kind, kindPrefix) && kind != kindImage && kind != kindIndex {
		return false
	}
	if _, ok := tagSuffix(d.Annotations[annotationName]); ok {
		return false
	}
	for _, all := range l.referrers {
		if hasDigest(all, d.Digest) {
			return false
		}
	}
	return d.IsManifest()
}

// tagSuffix knows cosign's tags by their end.
func tagSuffix(name string) (suffix string, ok bool) {
	if !strings.HasPrefix(name, "sha256-") {
		return "", false
	}
	for _, form := range legacyKinds {
		if strings.HasSuffix(name, form.suffix) {
			return form.suffix, true
		}
	}
	return "", false
}

func (l *directory) manifest(_ context.Context, d sigbox.Digest) (content, error) {
	b, err := l.readFile(l.path(d), manifest.MaxSize)
	if err != nil {
		return content{}, err
	}
	return content{body: b, digest: d}, checkContent("image layout "+l.Dir, d, b)
}

func (l *directory) attached(ctx context.Context, image sigbox.Digest) ([]attached, error) {
	m, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	root, err := l.root(ctx)
	if err != nil {
		return nil, err
	}
	var all []attached
	for _, d := range l.referrers[image.String()] {
		all = append(all, attached{Descriptor: d, image: image})
	}
	for _, d := range m.Manifests {
		name := d.Annotations[annotationName]
		suffix, byName := tagSuffix(name)
		if byName && name == fallbackTag(image, suffix) {
			all = append(all, attached{Descriptor: plain(d), image: image, suffix: suffix})
		}
		// cosign saves one image, and says of its signatures no more than that they are.
		for s, kind := range layoutKinds {
			if !byName && d.Annotations[annotationKind] == kind && root.Digest.Equal(image) {
				all = append(all, attached{Descriptor: plain(d), image: image, suffix: s})
			}
		}
	}
	return all, nil
}

func (l *directory) open(_ context.Context, d manifest.Descriptor) (io.ReadCloser, error) {
	f, err := openRegular(l.path(d.Digest))
	if err != nil {
		return nil, l.failure("blob "+d.Digest.String(), err)
	}
	return f, nil
}

// has believes no manifest to be complete: a copy that broke off may have left it.
func (l *directory) has(context.Context, manifest.Descriptor) (bool, error) { return false, nil }

func (l *directory) put(_ context.Context, _ *manifest.Manifest, d manifest.Descriptor, body []byte) error {
	if err := atomicfile.MkdirAll(filepath.Dir(l.path(d.Digest)), dirMode); err != nil {
		return l.failure("cannot be made", err)
	}
	if err := atomicfile.Replace(l.path(d.Digest), body, fileMode); err != nil {
		return l.failure("cannot be written", err)
	}
	return nil
}

// Layouts hold nothing secret.
const (
	dirMode  = 0o755
	fileMode = 0o644
)

func (l *directory) putBlob(_ context.Context, d manifest.Descriptor, _ store, open func() (io.ReadCloser, error)) (fate, error) {
	if l.holds(d) {
		return present, nil
	}
	r, err := open()
	if err != nil {
		return sent, err
	}
	defer r.Close() //nolint:errcheck // it was read to its end
	if err := atomicfile.MkdirAll(filepath.Dir(l.path(d.Digest)), dirMode); err != nil {
		return sent, l.failure("cannot be made", err)
	}
	return sent, l.writeBlob(l.path(d.Digest), r)
}

// holds reports whether a blob is there, and is what its digest says.
func (l *directory) holds(d manifest.Descriptor) bool {
	f, err := openRegular(l.path(d.Digest))
	if err != nil {
		return false
	}
	r := newCheckedReader(f, d)
	defer r.Close() //nolint:errcheck // it is read only
	_, err = io.Copy(io.Discard, r)
	return err == nil
}

// writeBlob writes a file that is whole or not there.
func (l *directory) writeBlob(path string, r io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".part-*")
	if err != nil {
		return l.failure("cannot be written", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone if all went well
	_, err = io.Copy(f, r)
	err = errors.Join(err, f.Chmod(fileMode), f.Sync(), f.Close())
	if ours, ok := errors.AsType[*sigbox.Error](err); ok {
		return ours
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return l.failure("cannot be written", err)
	}
	return nil
}

// attach notes what belongs to an image for the index.
func (l *directory) attach(_ context.Context, a attached, m *manifest.Manifest, _ []byte) (listed bool, err error) {
	d := plain(a.Descriptor)
	if d.ArtifactType = m.Kind(); a.suffix != "" {
		d.ArtifactType = ""
		d.Annotations = map[string]string{annotationName: fallbackTag(a.image, a.suffix)}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.added = append(l.added, d)
	return true, nil
}

// list has nothing to do: what is attached is listed.
func (l *directory) list(context.Context, sigbox.Digest, []manifest.Descriptor) error { return nil }

// finish enters what was copied into the index.
func (l *directory) finish(_ context.Context, root manifest.Descriptor, _ []byte) error {
	d := plain(root)
	d.Annotations = map[string]string{annotationKind: kindImage}
	if d.IsIndex() {
		d.Annotations[annotationKind] = kindIndex
	}
	if l.Name != "" {
		d.Annotations[annotationName] = l.Name
	}
	defer l.locks.lock("layout " + l.Dir)()
	m, err := l.readIndex()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range append(l.added, d) {
		for suffix, kind := range layoutKinds {
			if a.Annotations[annotationName] == fallbackTag(root.Digest, suffix) {
				a.Annotations[annotationKind] = kind // for cosign, which knows one image's
			}
		}
		enter(m, a)
	}
	return l.writeIndex(m)
}

// enter puts an entry into an index in place of one of the same name, or without any.
func enter(m *manifest.Manifest, d manifest.Descriptor) {
	name := d.Annotations[annotationName]
	m.Manifests = slices.DeleteFunc(m.Manifests, func(o manifest.Descriptor) bool {
		other := o.Annotations[annotationName]
		return name == other && (name != "" || o.Digest.Equal(d.Digest))
	})
	m.Manifests = append(m.Manifests, d)
}

func (l *directory) writeIndex(m *manifest.Manifest) error {
	slices.SortStableFunc(m.Manifests, func(a, b manifest.Descriptor) int { // the same copy gives the same file
		return strings.Compare(a.Digest.String(), b.Digest.String())
	})
	body, err := manifest.Append(nil, m)
	if err != nil {
		return err
	}
	if err := atomicfile.Replace(filepath.Join(l.Dir, "oci-layout"), []byte(layoutVersion), fileMode); err != nil {
		return l.failure("cannot be written", err)
	}
	if err := atomicfile.Replace(filepath.Join(l.Dir, "index.json"), body, fileMode); err != nil {
		return l.failure("cannot be written", err)
	}
	return nil
}
