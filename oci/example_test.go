package oci_test

import (
	"context"
	"fmt"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/verify"
)

// An image is verified by the first bundle that the policy accepts; cosign's tags of
// before are asked for only if there is none.
func Example() {
	verifyImage := func(ctx context.Context, v *verify.Verifier, image string, policy sigbox.Policy) (*verify.Verdict, error) {
		client := oci.New(oci.Config{})
		ref, err := oci.ParseReference(image)
		if err != nil {
			return nil, err
		}
		if ref, err = client.Resolve(ctx, ref); err != nil {
			return nil, err
		}
		last := error(sigbox.Errorf(sigbox.NotVerified, "%s is not signed", ref))
		for a, err := range client.Attachments(ctx, ref, oci.Query{PredicateTypes: policy.PredicateTypes}) {
			if err != nil {
				last = err
				continue
			}
			b, err := a.Bundle()
			if err != nil {
				last = err
				continue
			}
			artifact := verify.Digest(ref.Digest())
			if a.Kind == oci.Signature {
				artifact = verify.Bytes(a.Content)
			}
			verdict, err := v.Verify(artifact, b, policy)
			if err == nil {
				return verdict, nil
			}
			last = err
		}
		return nil, last
	}
	_ = verifyImage
	ref, err := oci.ParseReference("debian")
	fmt.Println(ref, err)
	// Output: index.docker.io/library/debian:latest <nil>
}
