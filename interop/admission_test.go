package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/interop/worker"
)

const (
	// cosignSignature is the predicate type under which bundles of images have a
	// signature.
	cosignSignature = "https://sigstore.dev/cosign/sign/v1"
	// ownPredicate is what attestations of the test say.
	ownPredicate = "https://example.com/tested"
)

// signedImage is an image with one signature or attestation.
type signedImage struct {
	what      string
	name      string
	predicate string // an attestation's type, "" for a signature
	bundle    bool   // and not cosign's form of before
}

// object is a JSON object of a question.
type object map[string]any

// verifier is an admission controller's, which trusts the instance.
type verifier struct {
	name   string // with its version
	how    string // it trusts the instance
	worker *worker.Worker
	// question asks whether an image is as who demands.
	question func(image signedImage, subject, issuer string) object
	// cell is what the table says of what is verified.
	cell func(image signedImage) string
}

// policyController gives the library of policy-controller with one of the TrustRoots that
// were exported.
func policyController(t *testing.T, in *instance, trust, root string) verifier {
	return verifier{
		name: "policy-controller 0.15.1", how: root,
		worker: worker.New(t, t.TempDir(), nil, tools(t, "bin", "policycontroller"), filepath.Join(trust, root+".json")),
		question: func(image signedImage, subject, issuer string) object {
			return in.policy(image, subject, issuer, false)
		},
		cell: func(image signedImage) string {
			if image.bundle {
				return "by timestamp, without SCT"
			}
			return "✓"
		},
	}
}

// policy demands an image's signature or attestation of a ClusterImagePolicy. In bundles
// policy-controller verifies neither SCTs nor entries of a log that a TrustRoot names;
// demanding does so all the same.
func (in *instance) policy(image signedImage, subject, issuer string, demanding bool) object {
	keyless := object{"url": in.url, "trustRootRef": "here", "identities": []object{{"issuer": issuer, "subject": subject}}}
	authority := object{"name": "instance", "keyless": keyless}
	predicate := image.predicate
	if image.bundle && predicate == "" {
		predicate = cosignSignature
	}
	if predicate != "" {
		authority["attestations"] = []object{{"name": "attested", "predicateType": predicate}}
	}
	log := object{"url": in.url, "trustRootRef": "here"}
	switch {
	case !image.bundle:
		authority["ctlog"] = log
	case demanding:
		authority["signatureFormat"], authority["ctlog"] = "bundle", log
	default:
		authority["signatureFormat"], authority["rfc3161timestamp"] = "bundle", object{"trustRootRef": "here"}
		keyless["insecureIgnoreSCT"] = true
	}
	return object{"image": image.name, "policy": object{
		"apiVersion": "policy.sigstore.dev/v1alpha1", "kind": "ClusterImagePolicy", "metadata": object{"name": "instance"},
		"spec": object{"images": []object{{"glob": "**"}}, "authorities": []object{authority}},
	}}
}

// kyverno gives Kyverno's library. It asks the instance's TUF repository; with a trusted
// root it takes bundles' keys from there.
func kyverno(t *testing.T, in *instance, how, trustedRoot string) verifier {
	t.Helper()
	root, err := os.ReadFile(in.rootFile)
	if err != nil {
		t.Fatal(err)
	}
	return verifier{
		name: "Kyverno 1.19.1", how: how,
		worker: worker.New(t, t.TempDir(), nil, tools(t, "bin", "kyverno")),
		question: func(image signedImage, subject, issuer string) object {
			cosign := object{
				"keyless": object{"identities": []object{{"issuer": issuer, "subject": subject}}},
				"tuf":     object{"mirror": in.url + "/tuf", "root": object{"data": root}},
			}
			if trustedRoot != "" {
				cosign["trustedRoot"] = object{"value": trustedRoot}
			}
			q := object{"image": image.name, "attestor": object{"name": "instance", "cosign": cosign}}
			if image.predicate != "" {
				q["attestation"] = object{"name": "attested", "intoto": object{"type": image.predicate}}
			}
			return q
		},
		cell: func(signedImage) string { return "✓" },
	}
}

// TestAdmission has the verifiers of admission controllers judge images, trusting the
// instance by what "sigbox trust export" wrote.
func TestAdmission(t *testing.T) {
	in := serve(t)
	r := &imageRun{t, in, sigboxClient{binary: in.binary, home: t.TempDir()}, cosignClient{binary: tools(t, "bin", "cosign"), home: t.TempDir()}, memoryRegistry(t, true)}
	r.must("sigbox trusts the instance", r.ours.trust(in))
	r.must("cosign trusts the instance", r.theirs.trust(in))
	trust := filepath.Join(t.TempDir(), "trust")
	r.must("sigbox exports", r.ours.run("trust", "export", "--data", in.data, "--name", "here", "--out", trust))
	trustedRoot, err := os.ReadFile(filepath.Join(trust, "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	verifiers := []verifier{
		policyController(t, in, trust, "trustroot-remote"), policyController(t, in, trust, "trustroot-repository"), policyController(t, in, trust, "trustroot-keys"),
		kyverno(t, in, "TUF", ""), kyverno(t, in, "trusted root", string(trustedRoot)),
	}
	unsigned := r.push("unsigned")
	var b strings.Builder
	fmt.Fprintf(&b, "| signed | %s | %s |\n|---|---|---|\n", verifiers[0].name, verifiers[len(verifiers)-1].name)
	for _, image := range r.signed() {
		cells := make(map[string]string) // by verifier
		for _, v := range verifiers {
			cell := "✗"
			if t.Run(image.what+" by "+v.name+", "+v.how, func(t *testing.T) { v.judge(t, image, unsigned, in.issuer) }) {
				cell = v.cell(image)
			}
			if before, ok := cells[v.name]; ok && before != cell {
				t.Errorf("%s: %s says %q, and otherwise %q", image.what, v.name, cell, before)
			}
			cells[v.name] = cell
		}
		// What the table says of bundles holds as long as this is refused.
		if image.bundle {
			r.refused(image.what+" by an entry in the log", verifiers[0].worker.Ask(in.policy(image, email, in.issuer, true)))
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", image.what, cells[verifiers[0].name], cells[verifiers[len(verifiers)-1].name])
	}
	checkTable(t, filepath.Join("..", "docs", "clients.md"), "admission", b.String())
}

// judge has the image verified, and refused for another identity, another issuer, another
// type of attestation, and without a signature.
func (v verifier) judge(t *testing.T, image signedImage, unsigned, issuer string) {
	if err := v.worker.Ask(v.question(image, email, issuer)); err != nil {
		t.Fatalf("is refused: %v", err)
	}
	nobody, attested := image, image
	nobody.name = unsigned
	attested.predicate = "https://example.com/other"
	for what, question := range map[string]object{
		"another identity":    v.question(image, "mallory@example.com", issuer),
		"another issuer":      v.question(image, email, "https://issuer.example.com"),
		"another attestation": v.question(attested, email, issuer),
		"no signature":        v.question(nobody, email, issuer),
	} {
		if err := v.worker.Ask(question); !refused(err) {
			t.Errorf("with %s: want a refusal, got %v", what, err)
		}
	}
}

// signed makes an image of each form of signature and attestation.
func (r *imageRun) signed() []signedImage {
	r.Helper()
	here := []string{"--instance", "here"}
	v1 := []string{"--signing-config", r.in.v1Config(r.T, filepath.Join(r.TempDir(), "signing_config.json"))}
	attest := []string{"--type", ownPredicate, "--predicate", write(r.T, filepath.Join(r.TempDir(), "predicate.json"), `{"passed":true}`)}
	const before = "--new-bundle-format=false"
	var images []signedImage
	add := func(image signedImage, run func(...string) error, args ...any) {
		image.name = r.push(fmt.Sprint("signed", len(images)))
		r.must(image.what, run(join(append(args, "--identity-token", r.in.token(r.T), image.name)...)...))
		images = append(images, image)
	}
	add(signedImage{what: "signature in cosign's form of before"}, r.ours.run, "sign", here, before)
	add(signedImage{what: "signature in a bundle, log of Rekor v1", bundle: true}, r.ours.run, "sign", here, v1)
	add(signedImage{what: "signature in a bundle, log of Rekor v2", bundle: true}, r.ours.run, "sign", here)
	add(signedImage{what: "the same by cosign", bundle: true}, r.theirs.run, "sign", "--yes")
	add(signedImage{what: "attestation in cosign's form of before", predicate: ownPredicate}, r.ours.run, "attest", here, before, attest)
	add(signedImage{what: "attestation in a bundle, log of Rekor v1", predicate: ownPredicate, bundle: true}, r.ours.run, "attest", here, v1, attest)
	add(signedImage{what: "attestation in a bundle, log of Rekor v2", predicate: ownPredicate, bundle: true}, r.ours.run, "attest", here, attest)
	return images
}
