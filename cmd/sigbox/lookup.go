package main

import (
	"bytes"
	"context"
	"net/url"
	"strings"
	"sync"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/cosign"
)

// lookup finds the log entries of signatures that came without. What logs answer is
// evidence to be judged, like that of a bundle. nil finds nothing.
type lookup struct {
	logs func() []*remote.LogV1 // those to ask; may ask where they are
	keys []sigbox.PublicKey     // that may have signed what has no certificate
	// silent: there are logs besides that cannot be asked, of version 2.
	silent bool
}

// newLookup asks the logs of trust roots that speak Rekor v1, unless all is to
// happen offline. Logs of version 2 cannot be asked.
func (e *env) newLookup(ctx context.Context, f trustFlags, t trusted, keys []sigbox.PublicKey) *lookup {
	var listed []string
	silent := false
	for _, root := range t.roots {
		for _, log := range root.Logs {
			// The ID of a log of version 1 is the hash of its key.
			if bytes.Equal(log.LogID, sigbox.SHA256.Sum(log.PublicKey).Value) {
				listed = append(listed, log.BaseURL)
			} else {
				silent = true
			}
		}
	}
	if f.offline || len(listed) == 0 {
		return nil
	}
	logs := func() []*remote.LogV1 { return e.logsV1(append(servedV1(ctx, t.instances), listed...)) }
	return &lookup{sync.OnceValue(logs), keys, silent}
}

// servedV1 are the logs of version 1 that instances have, by their signing configs.
func servedV1(ctx context.Context, instances []refresher) []string {
	var urls []string
	for _, i := range instances {
		config, err := i.services(ctx)
		if err != nil {
			continue // what the trust root lists may do
		}
		for _, s := range config.Logs {
			if s.MajorAPIVersion == logV1 {
				urls = append(urls, s.URL)
			}
		}
	}
	return urls
}

// logsV1 gives the logs at URLs, each once. What sigbox calls a log of its own in
// trust roots is its name, and nowhere to go.
func (e *env) logsV1(urls []string) []*remote.LogV1 {
	var logs []*remote.LogV1
	known := make(map[string]bool)
	for _, u := range urls {
		parsed, err := url.Parse(u)
		if known[u] || err != nil || strings.HasSuffix(parsed.Hostname(), ".internal") {
			continue
		}
		known[u] = true
		logs = append(logs, e.remote().LogV1(u))
	}
	return logs
}

// wants reports whether a bundle lacks what a log may have.
func (l *lookup) wants(b *sigbox.Bundle) bool { return l != nil && len(b.Entries) == 0 }

// complete adds the log entries of a signature to its bundle. digest hashes the
// artifact.
func (l *lookup) complete(ctx context.Context, b *sigbox.Bundle, from evidence, digest func(sigbox.HashAlgorithm) (sigbox.Digest, error)) error {
	logs := l.logs()
	if len(logs) == 0 {
		return sigbox.Errorf(sigbox.NotVerified, "it came without its log entry, and nothing says where the logs of the trust root can be asked for it").
			WithHint("add the instance that it was signed with, and give --instance in place of --trusted-root: sigbox instance add --help")
	}
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
	for _, log := range logs {
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
	if l.silent && sigbox.KindOf(first) == sigbox.NotFound {
		return sigbox.Errorf(sigbox.NotFound, "%w", first).
			WithHint("a log of version 2 may have it, and cannot be asked: name the bundle that was written when it was signed, --bundle FILE")
	}
	return first
}

// questions are the entries that a signature may have: by its certificate, or by
// any of the keys, which may hash the artifact in one way or the other.
func (l *lookup) questions(b *sigbox.Bundle, digest func(sigbox.HashAlgorithm) (sigbox.Digest, error)) ([]sigbox.Entry, error) {
	signers := make([]sigbox.Entry, 0, 1+len(l.keys))
	if len(b.Certificates) > 0 {
		leaf, err := sigbox.ParseCertificate(b.Certificates[0])
		if err != nil {
			return nil, err
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
