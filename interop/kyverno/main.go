// Command kyverno is Kyverno's verifier of images, as its ImageValidatingPolicies use it.
//
// It stays: each line that it reads is JSON, {"image": …, "attestor": …}, with an
// "attestation" if one is to be verified in place of a signature, each as a policy has
// it. It is answered with one line, {"error": …}, null if the image is verified.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	policies "github.com/kyverno/api/api/policies.kyverno.io/v1beta1"
	"github.com/kyverno/kyverno/pkg/image/verifiers/ivpol/cosign"
	"github.com/kyverno/sdk/extensions/imagedataloader"
)

// maxQuestion is the longest line that is read, in bytes.
const maxQuestion = 1 << 20

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kyverno:", err)
		os.Exit(1)
	}
}

func run() error {
	verifier := cosign.NewVerifier(nil, logr.Discard())
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxQuestion)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var answer struct {
			Error *string `json:"error"`
		}
		if err := judge(context.Background(), verifier, lines.Bytes()); err != nil {
			text := err.Error()
			answer.Error = &text
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// judge verifies the image of a question.
func judge(ctx context.Context, verifier *cosign.Verifier, question []byte) error {
	var q struct {
		Image       string                `json:"image"`
		Attestor    policies.Attestor     `json:"attestor"`
		Attestation *policies.Attestation `json:"attestation"`
	}
	if err := json.Unmarshal(question, &q); err != nil {
		return err
	}
	images, err := imagedataloader.New(nil, nil, nil)
	if err != nil {
		return err
	}
	image, err := images.FetchImageData(ctx, q.Image, nil, nil)
	if err != nil {
		return err
	}
	if q.Attestation != nil {
		return verifier.VerifyAttestationSignature(ctx, image, q.Attestation, &q.Attestor)
	}
	return verifier.VerifyImageSignature(ctx, image, &q.Attestor)
}
