// Package oci reads and writes signatures, attestations and whatever else belongs to
// an image or artifact in a registry, as Sigstore's clients do: bundles that refer to
// their subject (OCI 1.1), and cosign's tags of before, sha256-….sig, .att and .sbom.
//
//	client := oci.New(oci.Config{})
//	ref, err := oci.ParseReference("registry.example/app:v1")
//	ref, err = client.Resolve(ctx, ref) // registry.example/app@sha256:…
//	for a, err := range client.Attachments(ctx, ref, oci.Query{}) {
//		b, err := a.Bundle() // for package verify to judge
//	}
//
// It judges nothing. What a registry gives is what anybody with write access put
// there; content that is named by a digest is held against it, and no more. A listing
// that fails is an error, never an empty list.
//
// Everything that is read is bounded, see [Limits]. Credentials are those of docker
// and podman, and they go to the registry that they are for and to the token server
// that it names, never after a redirect and never in plain text, loopback and
// [Config].Insecure apart.
//
// Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
package oci
