package verify

import (
	"bytes"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/sigbox/sigbox"
)

// Artifact is what was signed: its bytes, or their digest.
type Artifact struct {
	digest sigbox.Digest
	source source // nil for a digest
}

// source gives an artifact's bytes from the start.
type source func() (io.Reader, error)

// Digest is an artifact of which the digest is known. Signatures of pure Ed25519
// keys need the bytes.
func Digest(d sigbox.Digest) Artifact { return Artifact{digest: d} }

// Reader is an artifact that is read once, to its end, and only when all else is
// in order. It is for one bundle: to verify another after it was read is an error
// of kind Invalid, since what is left of a reader is not the artifact.
//
// One that was signed with pure Ed25519, or with a key that may have done so, is
// held in memory up to 256 MiB. One that is larger than 4 MiB waits until no other
// of that kind is verified by the same [Verifier].
func Reader(r io.Reader) Artifact {
	if r == nil {
		return Artifact{}
	}
	var used atomic.Bool
	return Artifact{source: func() (io.Reader, error) {
		if used.Swap(true) {
			return nil, sigbox.Errorf(sigbox.Invalid, "the artifact was read before, for another bundle").WithHint("open it again for each bundle")
		}
		return r, nil
	}}
}

// Bytes is an artifact in memory, for any number of bundles.
func Bytes(b []byte) Artifact {
	return Artifact{source: func() (io.Reader, error) { return bytes.NewReader(b), nil }}
}

func (a Artifact) check() error {
	switch {
	case a.source != nil:
		return nil
	case a.digest.IsZero():
		return sigbox.Errorf(sigbox.Invalid, "no artifact to verify the bundle for")
	case !a.digest.Valid():
		return sigbox.Errorf(sigbox.Invalid, "artifact digest: expected %d bytes for %s, found %d", a.digest.Algorithm.Size(), a.digest.Algorithm, len(a.digest.Value))
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

// hashSet is a set of hash algorithms, a bit each.
type hashSet uint8

func (s hashSet) has(h sigbox.HashAlgorithm) bool { return h.Valid() && s&(1<<h) != 0 }

func (s *hashSet) add(h sigbox.HashAlgorithm) {
	if h.Valid() {
		*s |= 1 << h
	}
}

// content is an artifact as far as it was looked at.
type content struct {
	Artifact
	digests [sigbox.SHA512 + 1]sigbox.Digest
	bytes   *[]byte // nil unless asked for and not more than maxContent
	done    bool    // the source was read
	turn    *turn
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

// load computes the digests, and keeps the bytes if keep is set. It reads the
// source once: the caller asks for all that it will need.
func (c *content) load(hashes hashSet, keep bool) error {
	if c.source == nil {
		c.digests[c.digest.Algorithm] = c.digest
		return nil
	}
	if c.done {
		return nil
	}
	reader, err := c.source()
	if err != nil {
		return err
	}
	c.done = true
	var running [sigbox.SHA512 + 1]hash.Hash
	var sinks []io.Writer
	for h := sigbox.SHA256; h <= sigbox.SHA512; h++ {
		if hashes.has(h) {
			running[h] = h.New()
			sinks = append(sinks, running[h])
		}
	}
	kept := bounded{turn: c.turn}
	if keep {
		sinks = append(sinks, &kept)
	}
	if _, err := io.Copy(io.MultiWriter(sinks...), reader); err != nil {
		return sigbox.Errorf(sigbox.Unavailable, "the artifact could not be read: %w", err)
	}
	for h, w := range running {
		if w != nil {
			alg := sigbox.HashAlgorithm(h) // #nosec G115 -- an index of a small array
			c.digests[h] = sigbox.Digest{Algorithm: alg, Value: w.Sum(nil)}
		}
	}
	if keep && !kept.over {
		c.bytes = &kept.bytes
	}
	return nil
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

// any gives a digest of the artifact, for people.
func (c *content) any() sigbox.Digest {
	for _, d := range c.digests {
		if !d.IsZero() {
			return d
		}
	}
	return c.digest
}
