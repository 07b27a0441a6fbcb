package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/statement"
)

func newTreeCommand(e *env) *cobra.Command {
	var f treeFlags
	cmd := &cobra.Command{
		Use:     "tree IMAGE",
		GroupID: "images",
		Short:   "Show all that belongs to an image",
		Long: `tree shows an image, the images that it lists if it is an index, and all that belongs to
any of them: bundles, what stands under cosign's tags of before, artifacts of any other
type that refer to it, and what refers to those. Of signatures it says who claims to have
signed what.

Nothing is verified: whoever may write to the registry may have put there what they
like. sigbox verify says what is good.`,
		Example:           "  sigbox tree registry.example/app:v1\n  sigbox tree registry.example/app:v1 --output json",
		Args:              exactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.tree(cmd.Context(), f, args[0]) },
	}
	f.registry.registerAccess(cmd)
	f.output.register(cmd)
	return cmd
}

type treeFlags struct {
	registry registryFlags
	output   outputFlag
}

const unverifiedTree = "UNVERIFIED: these are the claims of whoever could write to the registry"

// tree is the verb.
func (e *env) tree(ctx context.Context, f treeFlags, arg string) error {
	image, err := e.openImage(ctx, f.registry, arg)
	if err != nil {
		return err
	}
	root, err := image.tree(ctx)
	if err != nil {
		return err
	}
	t, err := image.report(ctx, root)
	if err != nil {
		return image.failure(err)
	}
	if f.output.json() {
		return e.printJSON(t)
	}
	e.noteTag(image.asked, image.ref)
	e.noteRepository()
	return t.print(e.stdout)
}

// treeReport is what "tree --output json" prints. Verified is always false.
type treeReport struct {
	Image    string     `json:"image"`
	Verified bool       `json:"verified"`
	Warning  string     `json:"warning"`
	Nodes    []treeNode `json:"nodes"`
}

// treeNode is a manifest of the tree, in the order that it is drawn.
type treeNode struct {
	// Kind is "image", "index", "bundle", "signature", "attestation", "sbom" or
	// "artifact".
	Kind   string `json:"kind"`
	Digest string `json:"digest"`
	// Of is the digest of what it belongs to.
	Of           string `json:"of,omitempty"`
	Depth        int    `json:"depth"`
	MediaType    string `json:"mediaType"`
	Size         int64  `json:"size"`
	Platform     string `json:"platform,omitempty"`
	Tag          string `json:"tag,omitempty"` // cosign's
	ArtifactType string `json:"artifactType,omitempty"`
	// Claims are of bundles and of what stands under cosign's tags.
	Claims  []treeClaim `json:"claims,omitempty"`
	Problem string      `json:"problem,omitempty"`

	node *oci.Node
	last bool // of its siblings
}

// treeClaim is what one bundle, signature, attestation or SBOM says of itself.
type treeClaim struct {
	Signer        string `json:"signer,omitempty"`
	Issuer        string `json:"issuer,omitempty"`
	KeyHint       string `json:"publicKeyHint,omitempty"`
	PredicateType string `json:"predicateType,omitempty"`
	MediaType     string `json:"mediaType,omitempty"` // of an SBOM
	Size          int64  `json:"size"`
	Problem       string `json:"problem,omitempty"`
}

// report writes the image's tree down, with the claims of what is in it.
func (i *image) report(ctx context.Context, root *oci.Node) (*treeReport, error) {
	t := &treeReport{Image: i.ref.String(), Warning: unverifiedTree}
	t.enter(root, treeNode{Kind: "image", last: true})
	errs := make([]error, len(t.Nodes))
	inParallel(t.Nodes, func(n int, _ treeNode) { errs[n] = i.claims(ctx, &t.Nodes[n]) })
	return t, cmp.Or(errs...)
}

// enter enters a node, and all below it.
func (t *treeReport) enter(n *oci.Node, as treeNode) {
	as.node = n
	as.Digest, as.MediaType, as.Size = n.Digest.String(), n.MediaType, n.Size
	as.Platform, as.Tag, as.ArtifactType = n.Platform.String(), n.Tag, n.ArtifactType
	switch {
	case n.Kind != 0:
		as.Kind = strings.ToLower(n.Kind.String())
	case as.Kind == "image" && n.IsIndex():
		as.Kind = "index"
	}
	if n.Err != nil {
		as.Problem = n.Err.Error()
	}
	t.Nodes = append(t.Nodes, as)
	attached := slices.SortedFunc(slices.Values(n.Attached), compareNodes)
	for i, b := range slices.Concat(n.Images, attached) {
		below := treeNode{Kind: "artifact", Of: as.Digest, Depth: as.Depth + 1, last: i == len(n.Images)+len(attached)-1}
		if i < len(n.Images) {
			below.Kind = "image"
		}
		t.enter(b, below)
	}
}

// compareNodes orders what belongs to an image: today's form, what cosign wrote before,
// others.
func compareNodes(a, b *oci.Node) int {
	return cmp.Or(
		cmp.Compare(uint8(a.Kind)-1, uint8(b.Kind)-1), // others are of kind 0
		cmp.Compare(a.Digest.String(), b.Digest.String()),
	)
}

// claims reads what a node says of itself. The error is one that leaves open what it is.
func (i *image) claims(ctx context.Context, n *treeNode) error {
	switch {
	case n.node.Kind == 0 || n.node.Err != nil:
		return nil
	case n.node.Kind == oci.SBOM: // nobody has signed it
		for _, l := range n.node.Manifest.Layers {
			n.Claims = append(n.Claims, treeClaim{MediaType: l.MediaType, Size: l.Size})
		}
		return nil
	}
	subject, err := sigbox.ParseDigest(n.Of)
	if err != nil {
		return err
	}
	for a, err := range i.client.Contents(ctx, i.ref.At(subject), n.node) {
		c := treeClaim{Size: a.Blob.Size}
		if err == nil {
			err = c.read(a)
		}
		if err != nil && !isFlaw(err) {
			return unread(err)
		}
		if err != nil {
			c.Problem = err.Error()
		}
		n.Claims = append(n.Claims, c)
	}
	return nil
}

// read takes what an attachment claims.
func (c *treeClaim) read(a *oci.Attachment) error {
	b, err := a.Bundle()
	if err != nil {
		return err
	}
	c.KeyHint = b.KeyHint
	if b.Envelope != nil && b.Envelope.PayloadType == sigbox.InTotoPayloadType {
		s, err := statement.Parse(b.Envelope.Payload)
		if err != nil {
			return err
		}
		c.PredicateType = s.PredicateType
	}
	if len(b.Certificates) == 0 {
		return nil
	}
	leaf, err := sigbox.ParseCertificate(b.Certificates[0])
	if err != nil {
		return err
	}
	id, err := cert.IdentityOf(leaf)
	c.Signer, c.Issuer = id.Subject, id.Issuer
	return err
}

// print draws the tree.
func (t *treeReport) print(to io.Writer) error {
	w := bufio.NewWriter(to)
	var open []bool // for each level, whether more of it follows
	for i, n := range t.Nodes {
		branch := ""
		if n.Depth > 0 {
			open = append(open[:n.Depth-1], !n.last)
			branch = trunk(open[:n.Depth-1]) + map[bool]string{true: "└─ ", false: "├─ "}[n.last]
		}
		if i == 0 {
			fmt.Fprintf(w, "%s\n%s\n", printable(t.Image), unverifiedTree)
		}
		fmt.Fprintf(w, "%s%s\n", branch, printable(n.String()))
		below := trunk(open[:n.Depth])
		if i+1 < len(t.Nodes) && t.Nodes[i+1].Depth > n.Depth {
			below += "│"
		} else {
			below += " "
		}
		for _, c := range n.Claims {
			fmt.Fprintf(w, "%s  %s\n", below, printable(c.String()))
		}
		if n.Problem != "" {
			fmt.Fprintf(w, "%s  PROBLEM: %s\n", below, printable(n.Problem))
		}
	}
	if err := w.Flush(); err != nil {
		return ioError(err)
	}
	return nil
}

// trunk draws the levels above.
func trunk(open []bool) string {
	var b strings.Builder
	for _, more := range open {
		b.WriteString(map[bool]string{true: "│  ", false: "   "}[more])
	}
	return b.String()
}

// String names a node in a line.
func (n treeNode) String() string {
	parts := []string{n.Kind}
	if n.Kind == "sbom" {
		parts[0] = "SBOM"
	}
	if n.Platform != "" {
		parts = append(parts, n.Platform)
	}
	parts = append(parts, n.Digest)
	switch {
	case n.Tag != "":
		parts = append(parts, "(tag "+n.Tag+")")
	case n.Kind == "artifact":
		parts = append(parts, cmp.Or(n.ArtifactType, "of no type"))
	}
	return strings.Join(parts, " ")
}

// String says in a line what is claimed.
func (c treeClaim) String() string {
	switch {
	case c.Problem != "":
		return "PROBLEM: " + c.Problem
	case c.MediaType != "":
		return fmt.Sprintf("%s, %s, signed by nobody", c.MediaType, byteSize(c.Size))
	}
	what := "signature"
	if c.PredicateType != "" && c.PredicateType != sigbox.CosignSignPredicateType {
		what = "attestation " + c.PredicateType
	}
	switch {
	case c.Signer != "":
		return fmt.Sprintf("%s, says it is by %s, vouched for by %s", what, c.Signer, c.Issuer)
	case c.KeyHint != "":
		return fmt.Sprintf("%s, says it is by the key with the hint %s", what, c.KeyHint)
	}
	return what + ", by a key that is not said"
}
