// Package trust reads and writes what clients are given to trust and to sign
// with: trusted roots 0.1 and 0.2, and signing configurations 0.2; and it
// selects services from the latter.
//
//	root, err := trust.ParseRoot(data)          // trusted_root.json
//	config, err := trust.ParseSigningConfig(b)  // signing_config.v0.2.json
//	logs, err := trust.Select(config.Logs, config.LogSelector, now, []int{1, 2})
//
// Source: protobuf-specs, sigstore_trustroot.proto.
package trust

// Media types that are written. Roots are written as 0.1, in the spelling that
// every client reads, unless they ask for 0.2.
const (
	MediaTypeRootV01          = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
	MediaTypeRootV02          = "application/vnd.dev.sigstore.trustedroot.v0.2+json"
	MediaTypeSigningConfigV02 = "application/vnd.dev.sigstore.signingconfig.v0.2+json"

	mediaTypeRootV01Dotted    = "application/vnd.dev.sigstore.trustedroot.v0.1+json"
	mediaTypeSigningConfigV01 = "application/vnd.dev.sigstore.signingconfig.v0.1+json"
)

// Bounds on what is read; sizes are in bytes.
const (
	// MaxSize of a trusted root, a file of them, or a signing configuration.
	MaxSize = 4 << 20
	// MaxRoots is how many roots a file of JSON lines may hold.
	MaxRoots = 64

	maxInstances    = 256 // of one kind
	maxCertificates = 16  // of one chain
	maxCertificate  = 64 << 10
	maxKey          = 8 << 10
	maxKeyID        = 64
	maxText         = 2 << 10
	maxServices     = 256
	maxVersion      = 1 << 16
)
