package parts

import (
	"bytes"
	"encoding/hex"
	"slices"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/trust"
)

// AddTo adds what other hosts have to what this one has. A part may be a copy of this
// host's own, so that all hosts can have the same settings; what the host itself says of
// what it has goes before that. Errors: Conflict for a log that two hosts describe in two
// ways.
func (l *List) AddTo(c *trust.ClientTrustConfig) error {
	own := *c.Root
	for _, other := range l.Parts {
		var err error
		if c.Root.Logs, err = mergeLogs(c.Root.Logs, other.Root.Logs, len(own.Logs)); err == nil {
			c.Root.CTLogs, err = mergeLogs(c.Root.CTLogs, other.Root.CTLogs, len(own.CTLogs))
		}
		if err != nil {
			return sigbox.Errorf(sigbox.Invalid, "parts: %s: %w", other.From, err)
		}
		c.Root.CertificateAuthorities = mergeAuthorities(c.Root.CertificateAuthorities, other.Root.CertificateAuthorities)
		c.Root.TimestampAuthorities = mergeAuthorities(c.Root.TimestampAuthorities, other.Root.TimestampAuthorities)
		c.Signing.CAs = mergeServices(c.Signing.CAs, other.Signing.CAs)
		c.Signing.OIDC = mergeServices(c.Signing.OIDC, other.Signing.OIDC)
		c.Signing.Logs = mergeServices(c.Signing.Logs, other.Signing.Logs)
		c.Signing.TSAs = mergeServices(c.Signing.TSAs, other.Signing.TSAs)
	}
	// Of two logs some clients take the first that they know: those of v2 go first, which
	// sign with Ed25519.
	slices.SortStableFunc(c.Signing.Logs, func(a, b sigbox.Service) int { return b.MajorAPIVersion - a.MajorAPIVersion })
	slices.SortStableFunc(c.Root.Logs, func(a, b sigbox.TransparencyLog) int { return older(a) - older(b) })
	startFirst(c.Signing.Logs)
	return nil
}

// startFirst has no log of v1 begin after those of v2: sigstore-js takes the one that began
// last, and on hosts apart that is a matter of which was started first. What a host says of
// its log of v1 changes nothing of another one's of v2.
func startFirst(logs []sigbox.Service) {
	var first time.Time
	for _, s := range logs {
		if start := s.ValidFor.Start; s.MajorAPIVersion == 2 && (first.IsZero() || start.Before(first)) {
			first = start
		}
	}
	for i := range logs {
		if s := &logs[i]; s.MajorAPIVersion == 1 && !first.IsZero() && s.ValidFor.Start.After(first) {
			s.ValidFor.Start = first
		}
	}
}

// older is 1 for a log of Rekor v1.
func older(l sigbox.TransparencyLog) int {
	if l.Details == sigbox.Ed25519 {
		return 0
	}
	return 1
}

// mergeLogs adds logs. Two that go by the same ID have to be the same; the first own ones
// are what this host says itself.
func mergeLogs(logs, more []sigbox.TransparencyLog, own int) ([]sigbox.TransparencyLog, error) {
	for _, l := range more {
		i := slices.IndexFunc(logs, func(known sigbox.TransparencyLog) bool { return bytes.Equal(known.LogID, l.LogID) })
		switch {
		case i < 0:
			logs = append(logs, l)
		case i < own && bytes.Equal(logs[i].PublicKey, l.PublicKey):
		case !bytes.Equal(logs[i].PublicKey, l.PublicKey) || !logs[i].ValidFor.Equal(l.ValidFor):
			return nil, sigbox.Errorf(sigbox.Conflict, "the log %s is described in two ways by two hosts", hex.EncodeToString(l.LogID)).
				WithHint("name a newer copy of the part, or take the one of a host away that has the log no more")
		}
	}
	return logs, nil
}

// mergeAuthorities adds authorities that are not there.
func mergeAuthorities(list, more []sigbox.CertificateAuthority) []sigbox.CertificateAuthority {
	for _, ca := range more {
		if !slices.ContainsFunc(list, sameAuthority(ca)) {
			list = append(list, ca)
		}
	}
	return list
}

// mergeServices adds services that are not there.
func mergeServices(list, more []sigbox.Service) []sigbox.Service {
	for _, s := range more {
		if !slices.ContainsFunc(list, func(o sigbox.Service) bool { return o.URL == s.URL && o.MajorAPIVersion == s.MajorAPIVersion }) {
			list = append(list, s)
		}
	}
	return list
}

// sameAuthority finds an authority by the certificate that issues.
func sameAuthority(ca sigbox.CertificateAuthority) func(sigbox.CertificateAuthority) bool {
	return func(o sigbox.CertificateAuthority) bool { return bytes.Equal(o.Chain[0], ca.Chain[0]) }
}

// sameLog finds a log by its ID and key.
func sameLog(l sigbox.TransparencyLog) func(sigbox.TransparencyLog) bool {
	return func(o sigbox.TransparencyLog) bool {
		return bytes.Equal(o.LogID, l.LogID) && bytes.Equal(o.PublicKey, l.PublicKey)
	}
}

// Lost names, for people, what one trust root has and another one has not: logs,
// authorities, and the ends of their validity.
func Lost(was, will *sigbox.TrustedRoot) (lost []string) {
	for _, lists := range [][2][]sigbox.TransparencyLog{{was.Logs, will.Logs}, {was.CTLogs, will.CTLogs}} {
		for _, l := range lists[0] {
			i := slices.IndexFunc(lists[1], sameLog(l))
			switch {
			case i < 0:
				lost = append(lost, "the log "+l.BaseURL)
			case longer(l.ValidFor, lists[1][i].ValidFor):
				lost = append(lost, "the end of the log "+l.BaseURL)
			}
		}
	}
	for _, lists := range [][2][]sigbox.CertificateAuthority{
		{was.CertificateAuthorities, will.CertificateAuthorities}, {was.TimestampAuthorities, will.TimestampAuthorities},
	} {
		for _, ca := range lists[0] {
			i := slices.IndexFunc(lists[1], sameAuthority(ca))
			switch {
			case i < 0:
				lost = append(lost, "the authority "+ca.URI)
			case longer(ca.ValidFor, lists[1][i].ValidFor):
				lost = append(lost, "the end of the authority "+ca.URI)
			}
		}
	}
	return lost
}

// longer reports whether an end that was known is gone, or later: a key that was stolen
// would be trusted again.
func longer(was, will sigbox.TimeRange) bool {
	return !was.End.IsZero() && (will.End.IsZero() || will.End.After(was.End))
}
