package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/trust"
)

// authorities tells when the chains of certificates end that are in use.
func (e *exam) authorities(root *sigbox.TrustedRoot) (found []Finding) {
	for _, ca := range root.CertificateAuthorities {
		found = append(found, e.chain("CA", ca, "what it has certified after that does not verify, and it certifies nothing more")...)
	}
	for _, tsa := range root.TimestampAuthorities {
		found = append(found, e.chain("timestamp authority", tsa, "it gives no timestamps after that, and nothing can be signed without")...)
	}
	return found
}

// chain tells when the first certificate of a chain ends. One that is not in use any
// more may have ended.
func (e *exam) chain(what string, ca sigbox.CertificateAuthority, means string) []Finding {
	now := e.Now()
	if !ca.ValidFor.End.IsZero() && now.After(ca.ValidFor.End) {
		return nil
	}
	var first *x509.Certificate
	for _, der := range ca.Chain {
		c, err := sigbox.ParseCertificate(der)
		if err != nil {
			return []Finding{failed(Problem, err, "clients cannot use the trust root", "")}
		}
		if first == nil || c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	if first == nil {
		return nil
	}
	name := fmt.Sprintf("the %s's certificate %q", what, first.Subject.CommonName)
	return []Finding{byHand().ends(name, first.NotAfter, now, means, "make a new one while both are good: sigbox rotate --help; docs/operations.md")}
}

// logs reads the newest checkpoint of each log, and whether it continues what was seen
// of the log before.
func (e *exam) logs(ctx context.Context, p published) (found []Finding) {
	e.withMemory(func(dir string, keys []remote.LogKey) {
		for _, l := range p.root.CTLogs {
			if l.ValidFor.Contains(e.Now()) {
				found = append(found, e.log(ctx, remote.LogConfig{URL: l.BaseURL, CT: true, Keys: keys, Memory: dir}))
			}
		}
		for _, at := range e.logPlaces(p.config) {
			found = append(found, e.log(ctx, remote.LogConfig{URL: at.URL, Version: at.MajorAPIVersion, Keys: keys, Memory: dir}))
		}
	}, p, &found)
	return found
}

// withMemory does something with the keys of the logs, and with a copy of what was seen of
// them.
func (e *exam) withMemory(do func(dir string, keys []remote.LogKey), p published, found *[]Finding) {
	dir, err := os.MkdirTemp("", "sigbox-doctor-")
	if err != nil {
		*found = append(*found, failed(Unknown, err, "", "set TMPDIR to a directory that can be written"))
		return
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is the system's to clean, if this fails
	if e.Logs != "" {
		copyFiles(e.Logs, dir)
	}
	do(dir, remote.LogKeys([]*sigbox.TrustedRoot{p.root}))
}

// logPlaces are the logs that a signer would write to now.
func (e *exam) logPlaces(config *sigbox.SigningConfig) []sigbox.Service {
	if config == nil {
		return nil
	}
	var all []sigbox.Service
	for _, version := range []int{1, 2} {
		if services, err := trust.Select(config.Logs, sigbox.Selector{Mode: "ALL"}, e.Now(), []int{version}); err == nil {
			all = append(all, services...)
		}
	}
	return all
}

func (e *exam) log(ctx context.Context, at remote.LogConfig) Finding {
	name := fmt.Sprintf("the log at %s (v%d)", at.URL, at.Version)
	if at.CT {
		name = "the CT log at " + at.URL
	}
	r, err := e.Client.OpenLog(ctx, at)
	if err != nil {
		return e.badLog(name, err, at.Memory, "nothing can be signed: signatures are recorded there")
	}
	head, _ := r.Head()
	text := fmt.Sprintf("%s has %d entries under a good signature", name, head.Size)
	if _, before := r.LastSeen(); before {
		text += ", and continues what was seen of it before"
	}
	return Finding{Level: OK, Found: text}
}

// badLog tells of a log that cannot be opened, which means something. What proves that one
// was forked, or went back, is in the error's hint: where the checkpoint is that was seen,
// and the one that is shown now.
func (e *exam) badLog(name string, err error, memory, means string) Finding {
	if sigbox.KindOf(err) != sigbox.NotVerified {
		return failed(Problem, fmt.Errorf("%s: %w", name, err), means, "")
	}
	const do = "if you run it: find the other instance of it, or the newest copy of its data; docs/operations.md, \"When log and anchor disagree\"; if you do not: keep what you have seen of it, and tell who runs it"
	f := failed(Problem, fmt.Errorf("%s: %w", name, err), "it shows a tree that nobody who is trusted has signed, or that has not what it has shown before", "")
	f.Do = strings.TrimPrefix(strings.ReplaceAll(f.Do, memory, e.Logs)+"; "+do, "; ")
	return f
}

// sign signs and verifies, as a client does.
func (e *exam) sign(ctx context.Context, p published) []Finding {
	switch {
	case e.Sign == nil && e.NoSign == "":
		return well("left out: nothing was signed")
	case e.Sign == nil:
		return notSigned(e.NoSign)
	case !p.verified || p.config == nil:
		return []Finding{{Unknown, "", "nothing was signed: the services are not known for sure", "an identity token goes to nobody whom the trust root does not name", "mend the trust root first"}}
	}
	bundle, err := e.Sign(ctx, p.root, p.config)
	if errors.Is(err, ErrNoToken) {
		return notSigned("there is no identity token")
	}
	if err != nil {
		return []Finding{failed(Problem, err, "nobody can sign with this instance as it is, or what they sign does not verify", "")}
	}
	text := "a signature was made, and verifies: certificate"
	if len(bundle.Timestamps) > 0 {
		text += ", timestamp"
	}
	if len(bundle.Entries) > 0 {
		text += ", log entry"
	}
	return well(text)
}

func notSigned(why string) []Finding {
	return []Finding{{Unknown, "", "nothing was signed: " + why, "whether signing works is not known", "give --identity-token, or --data on the server itself; or --no-sign to leave it out"}}
}
