package verify

import (
	"encoding/hex"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/sigbox/sigbox"
)

// Artifact is what was signed: its bytes, or their digest.
type Artifact struct {
	digest sigbox.NamedDigest
	memory *[]byte                   // nil unless all of it is there
	once   func() (io.Reader, error) // nil unless it can be read, once
}

// Digest is an artifact of which the digest is known. Signatures of pure Ed25519
// keys need the bytes.
func Digest(d sigbox.Digest) Artifact { return Artifact{digest: d.Named()} }

// Named is an artifact that is known by the digest of any algorithm, also of one
// that sigbox cannot compute, such as "gitCommit". Only statements name their
// subjects so.
func Named(d sigbox.NamedDigest) Artifact { return Artifact{digest: d} }

// Reader is an artifact that is read once, to its end, and only when all else is
// in order. It is for one call: to verify another bundle after it was read is an
// error of kind Invalid, since what is left of a reader is not the artifact.
//
// One that was signed with pure Ed25519, or with a key that may have done so, is
// held in memory up to 256 MiB. One that is larger than 4 MiB waits until no other
// of that kind is verified by the same [Verifier].
func Reader(r io.Reader) Artifact {
	if r == nil {
		return Artifact{}
	}
	var used atomic.Bool
	return Artifact{once: func() (io.Reader, error) {
		if used.Swap(true) {
			return nil, sigbox.Errorf(sigbox.Invalid, "the artifact was read before, for another bundle").WithHint("open it again for each bundle")
		}
		return r, nil
	}}
}

// Bytes is an artifact in memory, for any number of bundles.
func Bytes(b []byte) Artifact { return Artifact{memory: &b} }

func (a Artifact) check() error {
	switch {
	case a.memory != nil, a.once != nil:
		return nil
	case a.digest.IsZero():
		return sigbox.Errorf(sigbox.Invalid, "no artifact to verify the bundle for")
	}
	if _, err := sigbox.ParseNamedDigest(a.digest.String()); err != nil {
		return sigbox.Errorf(sigbox.Invalid, "artifact: %w", err)
	}
	if h := hashNamed(a.digest.Algorithm); h != 0 {
		b, err := hex.DecodeString(a.digest.Value)
		if size := hashes[h].make().Size(); err != nil || len(b) != size || hex.EncodeToString(b) != a.digest.Value {
			return sigbox.Errorf(sigbox.Invalid, "artifact: a %s digest has %d lower-case hex digits, found %.150q", a.digest.Algorithm, 2*size, a.digest.Value)
		}
	}
	return nil
}

// Artifacts signed with pure Ed25519, which signs no digest, are held in memory.
// maxContent bounds each of them, in bytes; beyond smallContent they wait for each
// other, so that a [Verifier] holds but one large artifact at a time.
const (
	maxContent   = 256 << 20
	smallContent = 4 << 20
)

// content is an artifact as far as it was looked at.
type content struct {
	Artifact
	// wanted is what will be asked for.
	wanted hashSet
	whole  bool
	sums   [len(hashes)][]byte
	done   bool // what can be read but once was
	turn   turn
}

// newContent makes the content of an artifact that check found good.
func (v *Verifier) newContent(a Artifact) *content {
	c := &content{Artifact: a, turn: turn{verifier: &v.large}}
	if h := hashNamed(a.digest.Algorithm); h != 0 {
		c.sums[h], _ = hex.DecodeString(a.digest.Value) // as check has found
	}
	return c
}

// readable reports whether there is more of the artifact than a digest.
func (c *content) readable() bool { return c.memory != nil || c.once != nil }

// expect tells what will be asked for.
func (c *content) expect(hashes hashSet, whole bool) {
	c.wanted |= hashes
	c.whole = c.whole || whole
}

// digest gives the artifact's digest, zero if it is not known.
func (c *content) digest(h sigbox.HashAlgorithm) sigbox.Digest {
	if !h.Valid() || c.sums[h] == nil {
		return sigbox.Digest{}
	}
	return sigbox.Digest{Algorithm: h, Value: c.sums[h]}
}

// turn is the right to hold a large artifact in memory.
type turn struct {
	verifier *sync.Mutex
	taken    bool
}

func (t *turn) take() {
	if !t.taken {
		t.verifier.Lock()
		t.taken = true
	}
}

func (t *turn) giveBack() {
	if t.taken {
		t.verifier.Unlock()
		t.taken = false
	}
}

// How much of an artifact is read at first, for there are many small ones, and
// then at a time, in bytes.
const (
	firstRead = 16 << 10
	readSize  = 256 << 10
)

// load computes the digests that were asked for. An artifact that can be read but
// once is read now, and kept if all of it was asked for: who asks for more later
// will not find it.
func (c *content) load() error {
	if c.memory != nil {
		for h := firstHash; h <= lastHash; h++ {
			if c.wanted.has(h) && c.sums[h] == nil {
				sum := hashes[h].make()
				sum.Write(*c.memory)
				c.sums[h] = sum.Sum(nil)
			}
		}
		return nil
	}
	if c.once == nil || c.done {
		return nil
	}
	reader, err := c.once()
	if err != nil {
		return err
	}
	c.done = true
	return c.read(reader)
}

// read is load for a reader.
func (c *content) read(r io.Reader) error {
	var running [len(hashes)]hash.Hash
	sinks := make([]io.Writer, 0, len(hashes)+1)
	for h := firstHash; h <= lastHash; h++ {
		if c.wanted.has(h) {
			running[h] = hashes[h].make()
			sinks = append(sinks, running[h])
		}
	}
	kept := bounded{turn: &c.turn}
	if c.whole {
		sinks = append(sinks, &kept)
	}
	if err := pour(sinks, r); err != nil {
		return sigbox.Errorf(sigbox.Unavailable, "the artifact could not be read: %w", err)
	}
	for h, w := range running {
		if w != nil {
			c.sums[h] = w.Sum(nil)
		}
	}
	if c.whole && !kept.over {
		c.memory = &kept.bytes
	}
	return nil
}

// pour writes all of r to each of the sinks, which do not fail.
func pour(sinks []io.Writer, r io.Reader) error {
	all := io.MultiWriter(sinks...)
	for buf := make([]byte, firstRead); ; {
		n, err := r.Read(buf)
		_, _ = all.Write(buf[:n])
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case n == len(buf) && n < readSize:
			buf = make([]byte, readSize)
		}
	}
}

// bounded keeps what is written to it, up to maxContent.
type bounded struct {
	bytes []byte
	over  bool
	turn  *turn
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.over = b.over || len(b.bytes)+len(p) > maxContent; b.over {
		b.bytes = nil
		b.turn.giveBack()
		return len(p), nil
	}
	if len(b.bytes)+len(p) > smallContent {
		b.turn.take()
	}
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

// release lets go of the artifact; its digests stay.
func (c *content) release() {
	c.turn.giveBack()
	c.memory, c.once = nil, nil
}

// any gives a digest of the artifact, for people.
func (c *content) any() sigbox.NamedDigest {
	if !c.Artifact.digest.IsZero() {
		return c.Artifact.digest
	}
	for h := firstHash; h <= lastHash; h++ {
		if c.sums[h] != nil {
			return sigbox.NamedDigest{Algorithm: hashes[h].name, Value: hex.EncodeToString(c.sums[h])}
		}
	}
	return sigbox.NamedDigest{}
}

// is reports whether the artifact is known to have digest d. The names of
// algorithms that sigbox does not know must be those that the artifact was given
// by.
func (c *content) is(d sigbox.NamedDigest) bool {
	if h := hashNamed(d.Algorithm); h != 0 && c.sums[h] != nil {
		return hex.EncodeToString(c.sums[h]) == d.Value
	}
	return c.Artifact.digest == d
}
