package trust

import (
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// MediaTypeClientTrustConfig is that of a [ClientTrustConfig].
const MediaTypeClientTrustConfig = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"

// ClientTrustConfig is a trusted root with the signing configuration that goes with it:
// all that a client needs, in one document.
//
// Source: protobuf-specs, sigstore_trustroot.proto, ClientTrustConfig.
type ClientTrustConfig struct {
	Root    *sigbox.TrustedRoot
	Signing *sigbox.SigningConfig
}

// ParseClientTrustConfig reads a client's configuration. Both parts have to be there.
func ParseClientTrustConfig(b []byte) (*ClientTrustConfig, error) {
	var mediaType string
	var c ClientTrustConfig
	err := protojson.Decode("client trust config", b, MaxSize, func(d *protojson.Decoder) error {
		r := rootReader{d}
		return r.Object(func(field string) (err error) {
			switch field {
			case "mediaType":
				mediaType, err = r.String(maxText)
			case "trustedRoot":
				c.Root = new(sigbox.TrustedRoot)
				err = r.root(c.Root)
			case "signingConfig":
				c.Signing = new(sigbox.SigningConfig)
				err = configReader{r}.config(c.Signing)
			}
			return err
		}, "mediaType", "trustedRoot", "signingConfig")
	})
	switch {
	case err != nil:
		return nil, err
	case mediaType != MediaTypeClientTrustConfig:
		return nil, sigbox.Errorf(sigbox.Invalid, "client trust config: unknown media type %.80q: expected %s", mediaType, MediaTypeClientTrustConfig)
	case c.Root == nil || c.Signing == nil:
		return nil, sigbox.Errorf(sigbox.Invalid, "client trust config: expected a trustedRoot and a signingConfig, found only one of them or none")
	}
	if err := checkRootType(c.Root.MediaType); err != nil {
		return nil, err
	}
	if err := checkConfigType(c.Signing.MediaType); err != nil {
		return nil, err
	}
	return &c, nil
}

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
