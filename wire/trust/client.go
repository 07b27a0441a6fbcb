package trust

import "github.com/sigbox/sigbox/wire/internal/protojson"

// MediaTypeClientTrustConfig is that of a [AppendClientTrustConfig].
const MediaTypeClientTrustConfig = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"

// AppendClientTrustConfig writes a ClientTrustConfig: a trusted root and a signing
// configuration, both as they were published, in one document. sigstore-python takes
// it as --trust-config. Errors are those of [ParseRoot] and [ParseSigningConfig].
//
// Source: protobuf-specs, sigstore_trustroot.proto, ClientTrustConfig.
func AppendClientTrustConfig(dst, root, config []byte) ([]byte, error) {
	if _, err := ParseRoot(root); err != nil {
		return nil, err
	}
	if _, err := ParseSigningConfig(config); err != nil {
		return nil, err
	}
	e := protojson.NewEncoder(dst)
	e.Document(func() {
		e.String("mediaType", MediaTypeClientTrustConfig)
		e.Raw("trustedRoot", root)
		e.Raw("signingConfig", config)
	})
	return e.Done(), nil
}
