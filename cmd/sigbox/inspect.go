package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/statement"
	"github.com/sigbox/sigbox/wire/timestamp"
)

func newInspectCommand(e *env) *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:     "inspect FILE|IMAGE",
		GroupID: "sign",
		Short:   "Show what a bundle claims, before anyone trusts it",
		Long: `inspect shows what a bundle claims: who signed, when, where it was recorded, and
what was signed. FILE is a bundle, or a file with its bundle beside it; what cosign
wrote before there were bundles will do as well. Where the file is there, it says
whether it is the one that the bundle speaks of. Of an IMAGE it shows all bundles,
signatures and attestations that its registry has for it.

Nothing is verified: whoever made the bundle may have written anything into it.`,
		Example: `  sigbox inspect app.tar.gz
  sigbox inspect app.tar.gz.sigstore.json --output json
  sigbox inspect registry.example/app:v1`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := promptly(cmd.Context(), func() (inspection, error) { return e.inspect(cmd.Context(), f, args[0]) })
			if err != nil {
				return err
			}
			if f.output.json() {
				return e.printJSON(report)
			}
			return report.print(e.stdout)
		},
	}
	f.registry.registerAccess(cmd)
	f.output.register(cmd)
	strictFlags(cmd.Flags())
	return cmd
}

type inspectFlags struct {
	registry registryFlags
	output   outputFlag
}

// inspect reads all that is claimed in what an argument names.
func (e *env) inspect(ctx context.Context, f inspectFlags, arg string) (inspection, error) {
	ref, ok, err := imageOf(arg)
	switch {
	case err != nil:
		return inspection{}, err
	case !ok:
		return inspectFile(ctx, arg)
	}
	client, err := e.registries(f.registry)
	if err != nil {
		return inspection{}, err
	}
	return inspectImage(ctx, client, arg, ref)
}

// inspectImage reads all that is claimed of an image in its registry.
func inspectImage(ctx context.Context, client *oci.Client, arg string, ref oci.Reference) (inspection, error) {
	report := inspection{File: fileName(arg), Warning: unverifiedTree}
	ref, err := client.Resolve(ctx, ref)
	if err != nil {
		return report, unlisted(err)
	}
	for a, err := range client.Attachments(ctx, ref, oci.Query{}) {
		if a == nil {
			return report, unlisted(err) // the list is not whole
		}
		c, err := attachmentClaims(a, err)
		if err != nil {
			return report, err
		}
		report.Bundles = append(report.Bundles, c)
	}
	if len(report.Bundles) == 0 {
		return report, sigbox.Errorf(sigbox.NotFound, "%s has no bundles, signatures or attestations", ref).WithHint("sigbox tree shows what belongs to it")
	}
	return report, nil
}

// attachmentClaims are those of what is attached to an image. The error is one that
// leaves open what they are.
func attachmentClaims(a *oci.Attachment, err error) (claimedJSON, error) {
	at := placeOf(a)
	b := new(sigbox.Bundle)
	if err == nil {
		b, err = a.Bundle()
	}
	if err != nil {
		if !isFlaw(err) {
			return claimedJSON{}, unread(err)
		}
		c := claimedJSON{File: fileName(at.String()), Entries: []entryJSON{}, Timestamps: []timestampJSON{}}
		c.problem(a.Kind.String(), err)
		return c, nil
	}
	c := claimsOf(at, b)
	image := a.Subject.Digest()
	c.noun, c.payload = "image", a.Kind == oci.Signature
	matches := c.payload || slices.Contains(c.claimedDigests(), image.Named())
	c.Artifact, c.Matches, c.artifactDigest = fileName(a.Subject.String()), &matches, image
	return c, nil
}

const unverified = "UNVERIFIED: these are the claims of whoever made the file"

// inspectFile reads all that is claimed in a file, or beside it.
func inspectFile(ctx context.Context, path string) (inspection, error) {
	report := inspection{File: fileName(path), Verified: false, Warning: unverified}
	sources, artifact, err := toInspect(path)
	if err != nil {
		return report, err
	}
	var broken []claimedJSON
	var first error
	for _, source := range sources {
		bundles, err := source.read()
		if err != nil {
			first = cmp.Or(first, err)
			c := claimedJSON{File: fileName(source.String()), Entries: []entryJSON{}, Timestamps: []timestampJSON{}}
			c.problem("bundle", err)
			broken = append(broken, c)
		}
		for _, b := range bundles {
			c := claimsOf(place{source, b.line}, b.Bundle)
			if err := c.compare(ctx, artifact); err != nil {
				return report, err
			}
			report.Bundles = append(report.Bundles, c)
		}
	}
	if len(report.Bundles) == 0 {
		return report, first
	}
	report.Bundles = append(report.Bundles, broken...)
	return report, nil
}

// toInspect gives the file itself if it is a bundle or a part of one, else what is
// beside it; and the artifact, "" when that is not here.
func toInspect(path string) (sources []evidence, artifact string, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", &usageError{msg: "there is no file " + path, hint: "name a bundle, or a file with its bundle beside it"}
	case err != nil:
		return nil, "", ioError(err)
	case info.IsDir():
		return nil, "", &usageError{msg: path + " is a directory", hint: "name a bundle, or a file with its bundle beside it"}
	case !info.Mode().IsRegular():
		return nil, "", usage("%s is no regular file", path)
	}
	if artifact, v, ok := evidenceIn(path); ok {
		if !isFile(artifact) {
			artifact = ""
		}
		return []evidence{v}, artifact, nil
	}
	if beside := evidenceBeside(path, isFile); len(beside) > 0 {
		return beside, path, nil
	}
	switch bundles, err := readBundles(path); {
	case sigbox.KindOf(err) == sigbox.TooLarge && isBundleName(path):
		return nil, "", err
	case sigbox.KindOf(err) == sigbox.TooLarge:
		return nil, "", sigbox.Errorf(sigbox.NotFound, "there is no bundle beside %s, and it is too large to be one", path).WithHint("expected %s%s", path, bundleSuffix)
	case len(bundles) == 0:
		return nil, "", sigbox.Errorf(sigbox.NotFound, "%s is no bundle, and there is none beside it", path).WithCause(err).
			WithHint("expected %s%s", path, bundleSuffix)
	}
	return []evidence{{bundle: path}}, "", nil
}

// compare says whether an artifact, if there is one, has a digest that is claimed.
func (c *claimedJSON) compare(ctx context.Context, artifact string) error {
	var algorithms []sigbox.HashAlgorithm
	claims := c.claimedDigests()
	for h := sigbox.SHA256; h <= sigbox.SHA512; h++ {
		if slices.ContainsFunc(claims, func(d sigbox.NamedDigest) bool { return d.Algorithm == h.String() }) {
			algorithms = append(algorithms, h)
		}
	}
	if artifact == "" || len(algorithms) == 0 {
		return nil
	}
	found, err := digestOf(ctx, artifact, algorithms...)
	if err != nil {
		return err
	}
	matches := slices.ContainsFunc(found, func(d sigbox.Digest) bool { return slices.Contains(claims, d.Named()) })
	c.Artifact, c.Matches, c.artifactDigest = fileName(artifact), &matches, found[0]
	return nil
}

// claimedDigests are all digests that the bundle says what was signed has.
func (c *claimedJSON) claimedDigests() []sigbox.NamedDigest {
	var claims []sigbox.NamedDigest
	if d, err := sigbox.ParseNamedDigest(c.Digest); err == nil {
		claims = append(claims, d)
	}
	if c.Statement == nil {
		return claims
	}
	for _, s := range c.Statement.Subjects {
		for name, value := range s.Digest {
			claims = append(claims, sigbox.NamedDigest{Algorithm: name, Value: value})
		}
	}
	return claims
}

// inspection is what "inspect --output json" prints. File is the argument, and
// Verified is always false.
type inspection struct {
	File     fileName      `json:"file"`
	Verified bool          `json:"verified"`
	Warning  string        `json:"warning"`
	Bundles  []claimedJSON `json:"bundles"`
}

// claimedJSON is what one bundle claims.
type claimedJSON struct {
	File fileName `json:"file"`
	// Line is which of the file's lines it was read from, where that has lines.
	Line        int              `json:"line,omitempty"`
	MediaType   string           `json:"mediaType"`
	Certificate *certificateJSON `json:"certificate,omitempty"`
	KeyHint     string           `json:"publicKeyHint,omitempty"`
	Digest      string           `json:"digest,omitempty"`
	Statement   *statementJSON   `json:"statement,omitempty"`
	Entries     []entryJSON      `json:"logEntries"`
	Timestamps  []timestampJSON  `json:"timestamps"`
	// Artifact is the file that was compared, Matches whether it has a digest that is
	// claimed.
	Artifact fileName `json:"artifact,omitempty"`
	Matches  *bool    `json:"matches,omitempty"`
	// Problems are what could not be read.
	Problems []string `json:"problems,omitempty"`

	artifactDigest sigbox.Digest
	// noun is what was compared, "" for a file; payload: what is signed names it.
	noun    string
	payload bool
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
func claimsOf(at place, b *sigbox.Bundle) claimedJSON {
	c := claimedJSON{File: fileName(at.String()), Line: at.line, MediaType: b.MediaType, KeyHint: b.KeyHint, Entries: []entryJSON{}, Timestamps: []timestampJSON{}}
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
	if b.Message != nil {
		c.readDigest(b)
	}
	if b.Envelope != nil {
		c.readEnvelope(b.Envelope)
	}
	return c
}

// readDigest takes the digest from the signature or, where that has none as in
// cosign's old forms, from a log entry.
func (c *claimedJSON) readDigest(b *sigbox.Bundle) {
	d := b.Message.Digest
	for i := 0; d.IsZero() && i < len(b.Entries); i++ {
		if body, err := entry.ParseBody(b.Entries[i].Body); err == nil {
			d = body.Digest
		}
	}
	if !d.IsZero() {
		c.Digest = d.String()
	}
}

func (c *claimedJSON) problem(what string, err error) {
	c.Problems = append(c.Problems, what+": "+err.Error())
}

func (c *claimedJSON) readCertificate(der []byte) {
	leaf, err := sigbox.ParseCertificate(der)
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
	parsed, err := statement.Parse(env.Payload)
	if err != nil {
		c.problem("statement", err)
		return
	}
	c.Statement = newStatementJSON(parsed)
}

// print writes the claims for people. All of it is untrusted text.
func (r inspection) print(w io.Writer) error {
	fmt.Fprintf(w, "%s\n%s\n", printable(string(r.File)), r.Warning)
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
	row("bundle", "%s", inLineOf(c.File, c.Line))
	switch {
	case c.MediaType == "": // it could not be read
	case c.Certificate != nil:
		row("signed by", "%s (%s)", c.Certificate.Subject, c.Certificate.Kind)
		row("vouched for by", "%s", c.Certificate.Issuer)
	case c.KeyHint != "":
		row("signed by", "the key with the hint %s", c.KeyHint)
	default:
		row("signed by", "a key, which is not said")
	}
	switch {
	case c.payload:
		row("signed", "a payload that names the image, as cosign did before")
	case c.Digest != "":
		row("signed", "a file with digest %s", c.Digest)
	}
	if c.Statement != nil {
		c.Statement.rows(row)
	}
	c.rowCompared(row)
	for _, t := range c.Timestamps {
		row("timestamp", "%s, policy %s", t.Time.Format(time.RFC3339), t.Policy)
	}
	for _, e := range c.Entries {
		e.rows(row)
	}
	if c.Certificate != nil {
		c.Certificate.rows(row)
	}
	if c.MediaType != "" {
		row("format", "%s", c.MediaType)
	}
	for _, p := range c.Problems {
		row("problem", "%s", p)
	}
	return tw.Flush()
}

// rowCompared says whether the file beside, or the image, is the one that is spoken of.
func (c claimedJSON) rowCompared(row rowFunc) {
	name := "this " + cmp.Or(c.noun, "file")
	switch {
	case c.Matches == nil:
	case *c.Matches:
		row(name, "%s has the digest that is claimed", c.Artifact)
	default:
		row(name, "%s DIFFERS: it has %s, so it is not the one that is spoken of", c.Artifact, c.artifactDigest)
	}
}

type rowFunc func(name, format string, args ...any)

func (c *certificateJSON) rows(row rowFunc) {
	row("certified by", "%s", c.Authority)
	row("certificate valid", "%s to %s", c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
	for arc := range sigbox.MaxExtensionArc + 1 {
		name, _ := new(sigbox.Extensions).Field(arc)
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
