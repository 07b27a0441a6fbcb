// Package fulcio reads and writes the messages of Fulcio's API, by which a client asks
// a certificate authority for a certificate: as JSON, of versions 2 and 1, and in
// protocol buffers' binary form. It checks shapes; tokens, proofs and certificates are
// for others.
//
// Sources: fulcio.proto and fulcio_legacy.proto of sigstore/fulcio.
package fulcio

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protobin"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

const (
	// MaxRequestSize bounds a request, in bytes.
	MaxRequestSize = 4 << 20
	// maxToken bounds an identity token; authorities take less.
	maxToken = 64 << 10
	// maxKeyText bounds a public key or a signing request, PEM or DER.
	maxKeyText = 64 << 10
	// maxProof bounds a proof of possession.
	maxProof = 16 << 10
)

// requestName names a request in errors.
const requestName = "the certificate request"

// request is what the three forms of a request say.
type request struct {
	token string
	key   []byte // PEM or DER
	asked bool   // whether there was a field for the key
	proof []byte
	csr   []byte // PEM
}

// ParseRequest reads a CreateSigningCertificateRequest as JSON: what a client of
// version 2 posts. Errors are of kind Invalid or TooLarge.
func ParseRequest(body []byte) (sigbox.CertificateRequest, error) {
	var in request
	err := protojson.Decode(requestName, body, MaxRequestSize, func(d *protojson.Decoder) error {
		r := reader{d}
		return r.Object(func(name string) (err error) {
			switch name {
			case "credentials":
				return r.credentials(&in)
			case "publicKeyRequest":
				return r.publicKeyRequest(&in)
			}
			in.csr, err = r.Bytes(maxKeyText)
			return err
		}, "credentials", "publicKeyRequest", "certificateSigningRequest")
	})
	if err != nil {
		return sigbox.CertificateRequest{}, err
	}
	return in.certificateRequest()
}

// ParseRequestV1 is [ParseRequest] for version 1, whose token is in the header of the
// HTTP request alone.
func ParseRequestV1(body []byte) (sigbox.CertificateRequest, error) {
	var in request
	err := protojson.Decode(requestName, body, MaxRequestSize, func(d *protojson.Decoder) error {
		r := reader{d}
		return r.Object(func(name string) (err error) {
			switch name {
			case "publicKey":
				return r.publicKey(&in, func() (err error) {
					in.key, err = r.Bytes(maxKeyText)
					return err
				})
			case "signedEmailAddress":
				in.proof, err = r.Bytes(maxProof)
			default:
				in.csr, err = r.Bytes(maxKeyText)
			}
			return err
		}, "publicKey", "signedEmailAddress", "certificateSigningRequest")
	})
	if err != nil {
		return sigbox.CertificateRequest{}, err
	}
	return in.certificateRequest()
}

// reader adds the messages to protojson's decoder.
type reader struct{ *protojson.Decoder }

func (r reader) credentials(in *request) error {
	return r.Object(func(string) (err error) {
		in.token, err = r.String(maxToken)
		return err
	}, "oidcIdentityToken")
}

func (r reader) publicKeyRequest(in *request) error {
	in.asked = true
	return r.Object(func(name string) (err error) {
		if name == "publicKey" {
			return r.publicKey(in, func() error {
				text, err := r.String(maxKeyText)
				in.key = []byte(text)
				return err
			})
		}
		in.proof, err = r.Bytes(maxProof)
		return err
	}, "publicKey", "proofOfPossession")
}

// publicKey reads a PublicKey. Its algorithm is not looked at: the key says what it is.
func (r reader) publicKey(in *request, content func() error) error {
	in.asked = true
	return r.Object(func(name string) error {
		if name == "content" {
			return content()
		}
		_, err := r.Raw()
		return err
	}, "algorithm", "content")
}

// The messages in protocol buffers' binary form.
var (
	protoRequest = []protobin.Field{
		{Number: 1, Name: "credentials", Kind: protobin.Bytes},
		{Number: 2, Name: "public_key_request", Kind: protobin.Bytes},
		{Number: 3, Name: "certificate_signing_request", Kind: protobin.Bytes},
	}
	protoCredentials = []protobin.Field{{Number: 1, Name: "oidc_identity_token", Kind: protobin.Bytes}}
	protoKeyRequest  = []protobin.Field{
		{Number: 1, Name: "public_key", Kind: protobin.Bytes},
		{Number: 2, Name: "proof_of_possession", Kind: protobin.Bytes},
	}
	protoPublicKey = []protobin.Field{
		{Number: 1, Name: "algorithm", Kind: protobin.Varint},
		{Number: 2, Name: "content", Kind: protobin.Bytes},
	}
)

// ParseRequestProto is [ParseRequest] for protocol buffers' binary form. The request
// keeps nothing of body.
func ParseRequestProto(body []byte) (sigbox.CertificateRequest, error) {
	if len(body) > MaxRequestSize {
		return sigbox.CertificateRequest{}, sigbox.Errorf(sigbox.TooLarge, "%s of %d bytes: at most %d are read", requestName, len(body), MaxRequestSize)
	}
	var in request
	err := protobin.Read("CreateSigningCertificateRequest", body, protoRequest, func(name string, v protobin.Value) (err error) {
		switch name {
		case "credentials":
			return protobin.Read("Credentials", v.Bytes, protoCredentials, func(name string, v protobin.Value) (err error) {
				in.token, err = protobin.Text("Credentials", name, v.Bytes, maxToken)
				return err
			})
		case "public_key_request":
			return in.readKeyRequest(v.Bytes)
		}
		in.csr, err = bounded("CreateSigningCertificateRequest", name, v.Bytes, maxKeyText)
		return err
	})
	if err != nil {
		return sigbox.CertificateRequest{}, err
	}
	return in.certificateRequest()
}

// readKeyRequest reads a PublicKeyRequest.
func (in *request) readKeyRequest(b []byte) error {
	in.asked = true
	return protobin.Read("PublicKeyRequest", b, protoKeyRequest, func(name string, v protobin.Value) (err error) {
		if name == "proof_of_possession" {
			in.proof, err = bounded("PublicKeyRequest", name, v.Bytes, maxProof)
			return err
		}
		return protobin.Read("PublicKey", v.Bytes, protoPublicKey, func(name string, v protobin.Value) (err error) {
			if name == "content" {
				var text string
				text, err = protobin.Text("PublicKey", name, v.Bytes, maxKeyText)
				in.key = []byte(text)
			}
			return err
		})
	})
}

// bounded copies bytes of at most limit.
func bounded(message, name string, b []byte, limit int) ([]byte, error) {
	if len(b) > limit {
		return nil, sigbox.Errorf(sigbox.TooLarge, "%s: %s of %d bytes, at most %d are read", message, name, len(b), limit)
	}
	return bytes.Clone(b), nil
}

// ParseEmptyProto wants a GetTrustBundleRequest or a GetConfigurationRequest, which
// have no fields.
func ParseEmptyProto(body []byte) error { return protobin.Read("the request", body, nil, nil) }

// certificateRequest takes a request's PEM apart.
func (in *request) certificateRequest() (sigbox.CertificateRequest, error) {
	out := sigbox.CertificateRequest{Token: in.token, Proof: in.proof}
	if in.asked && len(in.key) == 0 {
		return sigbox.CertificateRequest{}, sigbox.Errorf(sigbox.Invalid, "%s: publicKey.content is missing", requestName)
	}
	if len(in.csr) > 0 {
		block, rest := pem.Decode(in.csr)
		if block == nil || (block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST") || len(bytes.TrimSpace(rest)) > 0 {
			return sigbox.CertificateRequest{}, sigbox.Errorf(sigbox.Invalid, "certificateSigningRequest: expected one PEM block CERTIFICATE REQUEST")
		}
		out.CSR = block.Bytes
	}
	if len(in.key) == 0 {
		return out, nil
	}
	der := in.key
	if block, rest := pem.Decode(der); block != nil {
		if block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
			return sigbox.CertificateRequest{}, sigbox.Errorf(sigbox.Invalid, "publicKey.content: expected one PEM block PUBLIC KEY")
		}
		der = block.Bytes
	}
	var err error
	if out.PublicKey, err = sigbox.ParsePublicKey(der); err != nil {
		return sigbox.CertificateRequest{}, err
	}
	return out, nil
}

// AppendRequest appends a CreateSigningCertificateRequest as JSON. An error of kind
// Invalid says that the key is of no type that can be certified.
func AppendRequest(dst []byte, req sigbox.CertificateRequest) ([]byte, error) {
	type publicKey struct {
		Content string `json:"content"` // which says its algorithm
	}
	type keyRequest struct {
		PublicKey publicKey `json:"publicKey"`
		Proof     []byte    `json:"proofOfPossession"`
	}
	var out struct {
		Credentials struct {
			Token string `json:"oidcIdentityToken"`
		} `json:"credentials"`
		Key *keyRequest `json:"publicKeyRequest,omitempty"`
		CSR []byte      `json:"certificateSigningRequest,omitempty"`
	}
	out.Credentials.Token = req.Token
	if req.CSR != nil {
		out.CSR = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: req.CSR})
	} else {
		der, err := x509.MarshalPKIXPublicKey(req.PublicKey)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "a key of type %T cannot be certified", req.PublicKey).WithCause(err)
		}
		out.Key = &keyRequest{publicKey{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}, req.Proof}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s cannot be written", requestName).WithCause(err)
	}
	return append(dst, b...), nil
}
