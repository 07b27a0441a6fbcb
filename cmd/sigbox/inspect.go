package main

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/timestamp"
)

func newInspectCommand(e *env) *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "inspect FILE",
		GroupID: "sign",
		Short:   "Show what a bundle claims, before anyone trusts it",
		Long: `inspect shows what a bundle claims: who signed, when, where it was recorded, and
what was signed. FILE is a bundle, or an artifact with its bundle beside it.

Nothing is verified: whoever made the file may have written anything into it.`,
		Example: "  sigbox inspect app.tar.gz\n  sigbox inspect app.tar.gz.sigstore.json --output json",
		Args:    exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			report := inspection{File: args[0], Verified: false, Warning: unverified}
			files, err := filesToInspect(args[0])
			if err != nil {
				return err
			}
			for _, file := range files {
				bundles, err := readBundles(file)
				if err != nil {
					return err
				}
				for _, b := range bundles {
					report.Bundles = append(report.Bundles, claimsOf(file, b))
				}
			}
			if output.json() {
				return e.printJSON(report)
			}
			return report.print(e.stdout)
		},
	}
	output.register(cmd)
	return cmd
}

const unverified = "UNVERIFIED: these are the claims of whoever made the file"

// filesToInspect gives the file itself if it is a bundle, else those beside it.
func filesToInspect(path string) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &usageError{msg: "there is no file " + path, hint: "name a bundle, or a file with its bundle beside it"}
	case err != nil:
		return nil, ioError(err)
	case info.IsDir():
		return nil, &usageError{msg: path + " is a directory", hint: "name a bundle, or a file with its bundle beside it"}
	case isBundleName(path):
		return []string{path}, nil
	}
	beside := bundlesBeside(path)
	if len(beside) > 0 {
		return beside, nil
	}
	if _, err := readBundles(path); err != nil {
		return nil, sigbox.Errorf(sigbox.NotFound, "%s is no bundle, and there is none beside it", path).WithCause(err).
			WithHint("expected %s%s", path, bundleSuffix)
	}
	return []string{path}, nil
}

// readBundles reads a file with one bundle, or with one in each line.
func readBundles(path string) ([]*sigbox.Bundle, error) {
	b, err := readFile(path, maxBundleFile)
	if err != nil {
		return nil, err
	}
	one, err := bundle.Parse(b)
	if err == nil {
		return []*sigbox.Bundle{one}, nil
	}
	if line, _, several := bytes.Cut(bytes.TrimSpace(b), []byte{'\n'}); several || strings.HasSuffix(path, "l") {
		if _, lerr := bundle.Parse(line); lerr == nil || strings.HasSuffix(path, ".jsonl") {
			return bundle.ParseLines(b)
		}
	}
	return nil, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", path, err)
}

// inspection is what "inspect --output json" prints. File is the argument, and
// Verified is always false.
type inspection struct {
	File     string        `json:"file"`
	Verified bool          `json:"verified"`
	Warning  string        `json:"warning"`
	Bundles  []claimedJSON `json:"bundles"`
}

// claimedJSON is what one bundle claims.
type claimedJSON struct {
	File        string           `json:"file"`
	MediaType   string           `json:"mediaType"`
	Certificate *certificateJSON `json:"certificate,omitempty"`
	KeyHint     string           `json:"publicKeyHint,omitempty"`
	Digest      string           `json:"digest,omitempty"`
	Statement   *statementJSON   `json:"statement,omitempty"`
	Entries     []entryJSON      `json:"logEntries"`
	Timestamps  []timestampJSON  `json:"timestamps"`
	// Problems are what could not be read.
	Problems []string `json:"problems,omitempty"`
}

type certificateJSON struct {
	identityJSON
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	Authority string    `json:"certificateAuthority"`
}

type statementJSON struct {
	PayloadType   string        `json:"payloadType"`
	Type          string        `json:"type,omitempty"`
	PredicateType string        `json:"predicateType,omitempty"`
	Subjects      []subjectJSON `json:"subjects,omitempty"`
}

type subjectJSON struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type entryJSON struct {
	LogIndex       int64      `json:"logIndex"`
	LogID          string     `json:"logId"` // hex
	Origin         string     `json:"checkpointOrigin,omitempty"`
	TreeSize       int64      `json:"treeSize,omitempty"`
	Kind           string     `json:"kind"`
	Version        string     `json:"version"`
	IntegratedTime *time.Time `json:"integratedTime,omitempty"`
}

type timestampJSON struct {
	Time   time.Time `json:"time"`
	Policy string    `json:"policy"`
}

// claimsOf reads all that a bundle says. What cannot be read becomes a problem,
// so that a strange bundle can be looked at.
func claimsOf(file string, b *sigbox.Bundle) claimedJSON {
	c := claimedJSON{File: file, MediaType: b.MediaType, KeyHint: b.KeyHint, Entries: []entryJSON{}, Timestamps: []timestampJSON{}}
	if len(b.Certificates) > 0 {
		c.readCertificate(b.Certificates[0])
	}
	for i := range b.Entries {
		c.Entries = append(c.Entries, entryClaims(&b.Entries[i]))
	}
	for _, t := range b.Timestamps {
		token, err := timestamp.Parse(t)
		if err != nil {
			c.problem("timestamp", err)
			continue
		}
		c.Timestamps = append(c.Timestamps, timestampJSON{token.Time.UTC(), token.Policy.String()})
	}
	if b.Message != nil && !b.Message.Digest.IsZero() {
		c.Digest = b.Message.Digest.String()
	}
	if b.Envelope != nil {
		c.readEnvelope(b.Envelope)
	}
	return c
}

func (c *claimedJSON) problem(what string, err error) {
	c.Problems = append(c.Problems, what+": "+err.Error())
}

func (c *claimedJSON) readCertificate(der []byte) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		c.problem("certificate", err)
		return
	}
	c.Certificate = &certificateJSON{
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), Authority: leaf.Issuer.String(),
	}
	id, err := cert.IdentityOf(leaf)
	if err != nil {
		c.problem("certificate", err)
		return
	}
	c.Certificate.identityJSON = newIdentityJSON(id)
}

func entryClaims(le *sigbox.LogEntry) entryJSON {
	j := entryJSON{
		LogIndex: le.LogIndex, LogID: hex.EncodeToString(le.LogID), Kind: le.Kind, Version: le.Version,
	}
	if le.IntegratedTime > 0 {
		t := time.Unix(le.IntegratedTime, 0).UTC()
		j.IntegratedTime = &t
	}
	if le.Inclusion != nil {
		j.TreeSize = le.Inclusion.TreeSize
		if cp, _, err := note.Parse(le.Inclusion.Checkpoint); err == nil {
			j.Origin = cp.Origin
		}
	}
	return j
}

func (c *claimedJSON) readEnvelope(env *sigbox.Envelope) {
	c.Statement = &statementJSON{PayloadType: env.PayloadType}
	if env.PayloadType != sigbox.InTotoPayloadType {
		return
	}
	var s struct {
		Type          string        `json:"_type"`
		PredicateType string        `json:"predicateType"`
		Subject       []subjectJSON `json:"subject"`
	}
	if err := json.Unmarshal(env.Payload, &s); err != nil {
		c.problem("statement", err)
		return
	}
	c.Statement.Type, c.Statement.PredicateType, c.Statement.Subjects = s.Type, s.PredicateType, s.Subject
}

// print writes the claims for people. All of it is untrusted text.
func (r inspection) print(w io.Writer) error {
	fmt.Fprintf(w, "%s\n%s\n", printable(r.File), unverified)
	for i, c := range r.Bundles {
		fmt.Fprintln(w)
		if len(r.Bundles) > 1 {
			fmt.Fprintf(w, "bundle %d of %d\n", i+1, len(r.Bundles))
		}
		if err := c.print(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\nTo check them: sigbox verify with %s\n", r.demand())
	return err
}

// demand names the flags that say who is expected.
func (r inspection) demand() string {
	if len(r.Bundles) > 0 && r.Bundles[0].Certificate == nil {
		return "--key, and the public key that you have by another way."
	}
	return "--certificate-identity and --certificate-oidc-issuer of whom you expect."
}

// print tells what matters most first.
func (c claimedJSON) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	row("bundle", "%s", c.File)
	if c.Certificate != nil {
		row("signed by", "%s (%s)", c.Certificate.Subject, c.Certificate.Kind)
		row("vouched for by", "%s", c.Certificate.Issuer)
	} else {
		row("signed by", "the key with the hint %s", c.KeyHint)
	}
	if c.Digest != "" {
		row("signed", "a file with digest %s", c.Digest)
	}
	if c.Statement != nil {
		c.Statement.rows(row)
	}
	for _, t := range c.Timestamps {
		row("timestamp", "%s, policy %s", t.Time.Format(time.RFC3339), t.Policy)
	}
	for _, e := range c.Entries {
		e.rows(row)
	}
	if c.Certificate != nil {
		c.Certificate.rows(row)
	}
	row("format", "%s", c.MediaType)
	for _, p := range c.Problems {
		row("problem", "%s", p)
	}
	return tw.Flush()
}

type rowFunc func(name, format string, args ...any)

func (c *certificateJSON) rows(row rowFunc) {
	row("certified by", "%s", c.Authority)
	row("certificate valid", "%s to %s", c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
	for _, name := range extensionNames {
		if v := c.Extensions[name]; v != "" {
			row(name, "%s", v)
		}
	}
}

func (s *statementJSON) rows(row rowFunc) {
	row("signed", "a statement of type %s", s.PayloadType)
	if s.PredicateType != "" {
		row("predicate", "%s", s.PredicateType)
	}
	for i, subject := range s.Subjects {
		const most = 20
		if i == most {
			row("subject", "… and %d more", len(s.Subjects)-most)
			return
		}
		row("subject", "%s %s", subject.Name, digests(subject.Digest))
	}
}

// digests writes a subject's digests, the usual ones first.
func digests(m map[string]string) string {
	var parts []string
	for _, name := range []string{"sha256", "sha384", "sha512", "gitCommit", "sha1"} {
		if v, ok := m[name]; ok {
			parts = append(parts, name+":"+v)
		}
	}
	if len(parts) == 0 {
		return count(len(m), "digest", "digests")
	}
	return strings.Join(parts, " ")
}

func (e entryJSON) rows(row rowFunc) {
	where := fmt.Sprintf("log %.8s…", e.LogID)
	if e.Origin != "" {
		where = e.Origin
	}
	when := ""
	if e.IntegratedTime != nil {
		when = " at " + e.IntegratedTime.Format(time.RFC3339)
	}
	row("recorded", "%s, index %d%s (%s %s)", where, e.LogIndex, when, e.Kind, e.Version)
}
