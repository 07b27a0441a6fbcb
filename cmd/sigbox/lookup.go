package main

import (
	"bytes"
	"context"
	"crypto/x509"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/cosign"
)

// lookup finds the log entries of signatures that came without. What logs answer is
// evidence to be judged, like that of a bundle. nil finds nothing.
type lookup struct {
	logs []*remote.LogV1
	keys []sigbox.PublicKey // that may have signed what has no certificate
}

// newLookup asks the logs of trust roots that speak Rekor v1, unless all is to
// happen offline. Logs of version 2 cannot be asked.
func (e *env) newLookup(f trustFlags, roots []*sigbox.TrustedRoot, keys []sigbox.PublicKey) *lookup {
	if f.offline {
		return nil
	}
	l := &lookup{keys: keys}
	known := make(map[string]bool)
	for _, root := range roots {
		for _, log := range root.Logs {
			// The ID of a log of version 1 is the hash of its key.
			if known[log.BaseURL] || !bytes.Equal(log.LogID, sigbox.SHA256.Sum(log.PublicKey).Value) {
				continue
			}
			known[log.BaseURL] = true
			l.logs = append(l.logs, e.remote().LogV1(log.BaseURL))
		}
	}
	if len(l.logs) == 0 {
		return nil
	}
	return l
}

// wants reports whether a bundle lacks what a log may have.
func (l *lookup) wants(b *sigbox.Bundle) bool { return l != nil && len(b.Entries) == 0 }

// complete adds the log entries of a signature to its bundle. digest hashes the
// artifact.
func (l *lookup) complete(ctx context.Context, b *sigbox.Bundle, from evidence, digest func(sigbox.HashAlgorithm) (sigbox.Digest, error)) error {
	questions, err := l.questions(b, digest)
	if err != nil {
		return err
	}
	var envelope []byte
	if b.Envelope != nil {
		text, err := readFile(from.signature, maxBundleFile)
		if err != nil {
			return err
		}
		envelope, _ = cosign.Envelope(text)
	}
	var first error
	for _, log := range l.logs {
		for _, q := range questions {
			entries, err := log.Find(ctx, q, envelope)
			if err == nil {
				b.Entries = entries
				return nil
			}
			if first == nil || sigbox.KindOf(err) == sigbox.Unavailable {
				first = err
			}
		}
	}
	return first
}

// questions are the entries that a signature may have: by its certificate, or by
// any of the keys, which may hash the artifact in one way or the other.
func (l *lookup) questions(b *sigbox.Bundle, digest func(sigbox.HashAlgorithm) (sigbox.Digest, error)) ([]sigbox.Entry, error) {
	signers := make([]sigbox.Entry, 0, 1+len(l.keys))
	if len(b.Certificates) > 0 {
		leaf, err := x509.ParseCertificate(b.Certificates[0])
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "certificate: %w", err)
		}
		details, _ := sigbox.DetailsOf(leaf.PublicKey) // 0 has no hash
		signers = append(signers, sigbox.Entry{Certificate: b.Certificates[0], Details: details})
	} else {
		for _, k := range l.keys {
			details := k.Details
			if pub, err := sigbox.ParsePublicKey(k.Key); details == 0 && err == nil {
				details, _ = sigbox.DetailsOf(pub)
			}
			signers = append(signers, sigbox.Entry{PublicKey: k.Key, Details: details})
		}
	}
	if b.Message == nil {
		return signers, nil
	}
	var questions []sigbox.Entry
	for _, s := range signers {
		s.Signature = b.Message.Signature
		hashes := []sigbox.HashAlgorithm{sigbox.SHA256} // cosign's, whatever the key
		if h := s.Details.Hash(); h.Valid() && h != sigbox.SHA256 {
			hashes = append(hashes, h)
		}
		for _, h := range hashes {
			d, err := digest(h)
			if err != nil {
				return nil, err
			}
			s.Digest = d
			questions = append(questions, s)
		}
	}
	return questions, nil
}
