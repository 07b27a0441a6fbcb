package timestamp_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/flawed"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// token is a response taken apart, with all that RFC 3161 allows in it.
type token struct {
	key                                      crypto.Signer
	response, content, info                  *flawed.Element // info is in content
	attributes, digest, signerInfo, sigValue *flawed.Element
}

func parse(t *testing.T, der string) *flawed.Element {
	t.Helper()
	return flawed.ParseDER(t, []byte(der))
}

func newToken(t *testing.T, a authority) *token {
	t.Helper()
	nonce := timestamp.NewNonce([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	k := &token{key: a.key, response: flawed.ParseDER(t, a.respond(t, func(r *timestamp.Request) { r.Nonce, r.Certificates = nonce, false }, now))}
	signed := k.response.Parts[1].Parts[1].Parts[0]
	signed.Parts = slices.Insert(signed.Parts, 3, parse(t, "\xa0\x00"), parse(t, "\xa1\x00")) // certificates, crls
	k.content = signed.Parts[2].Parts[1].Parts[0]
	k.info = flawed.ParseDER(t, k.content.Contents)
	// version, policy, messageImprint, serialNumber, genTime, accuracy, nonce, tsa
	k.info.Parts[5] = parse(t, "\x30\x0a\x02\x01\x01\x80\x02\x01\xf4\x81\x01\x05")
	k.info.Parts = slices.Insert(k.info.Parts, 6, parse(t, "\x01\x01\xff")) // ordering
	k.info.Parts = append(k.info.Parts, parse(t, "\xa1\x0b\x30\x09\x06\x02\x2a\x03\x04\x03abc"))

	// version, sid, digestAlgorithm, signedAttrs, signatureAlgorithm, signature
	k.signerInfo = signed.Parts[5].Parts[0]
	k.attributes, k.sigValue = k.signerInfo.Parts[3], k.signerInfo.Parts[5]
	k.signerInfo.Parts = append(k.signerInfo.Parts, parse(t, "\xa1\x00")) // unsignedAttrs
	for _, attribute := range k.attributes.Parts {
		switch value := attribute.Parts[1].Parts[0]; string(attribute.Parts[0].Contents[7:]) {
		case "\x09\x04":
			k.digest = value
		case "\x09\x10\x02\x2f": // signing-certificate-v2: a hash algorithm, and a second certificate
			certs := value.Parts[0]
			certs.Parts[0].Parts = slices.Insert(certs.Parts[0].Parts, 0, parse(t, "\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"))
			certs.Parts = append(certs.Parts, parse(t, "\x30\x03\x04\x01x"))
		}
	}
	return k
}

// seal signs the token anew: info, if it may have changed, and the attributes.
func (k *token) seal(t *testing.T, info bool) {
	t.Helper()
	if info {
		k.content.Contents = k.info.Bytes()
		k.digest.Contents = sigbox.SHA256.Sum(k.content.Contents).Value
	}
	set := flawed.Element{Tag: 0x31, Parts: k.attributes.Parts, Contents: k.attributes.Contents}
	sig, err := k.key.Sign(rand.Reader, sigbox.SHA256.Sum(set.Bytes()).Value, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	k.sigValue.Contents = sig
}

// TestFlaws: a token that is wrong at any place is refused, also when the authority
// itself has signed it so.
func TestFlaws(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	auth, err := timestamp.NewAuthority(a.trusted())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("signed TSTInfo", func(t *testing.T) {
		k := newToken(t, a)
		flawed.TestDER(t, k.info, func() error {
			k.seal(t, true)
			_, err := auth.Verify(k.response.Bytes(), signature)
			return err
		},
			"/1: cut", "/1: longer", // another policy
			"/2/0/1: missing", "/2/0/1: empty", // NULL in the hash's identifier
			"/3: cut", "/3: longer", // another serial number
			"/5: missing", "/5: empty", "/5/0: missing", "/5/0: longer", "/5/1: missing", "/5/1: cut", "/5/2: missing", // another accuracy
			"/6: missing",                          // ordering
			"/7: missing", "/7: cut", "/7: longer", // another nonce
			"/8: missing", "/8: empty", "/8: more behind", "/8/*", // the authority's name
			"/9: missing", "/9/0: twice", "/9/0/0: empty", "/9/0/0: cut", "/9/0/0: longer", "/9/0/1: empty", "/9/0/1: cut", "/9/0/1: longer", // extensions
		)
	})
	t.Run("signed attributes", func(t *testing.T) {
		k := newToken(t, a)
		k.seal(t, true)
		flawed.TestDER(t, k.attributes, func() error {
			k.seal(t, false)
			_, err := auth.Verify(k.response.Bytes(), signature)
			return err
		},
			"/2/1/0: more behind", "/2/1/0/0: twice", // policies of the certificates, not looked at
			"/2/1/0/0: more behind", "/2/1/0/0/0: twice", "/2/1/0/0/1: *", "/2/1/0/0/1/*", // other certificates than the signer's
			"/2/1/0/0/0/0: more behind", "/2/1/0/0/0/0: missing", // its hash: with NULL, or the default
			"/2/1/0/0/0/2: missing", // its issuer and serial number
		)
	})
	t.Run("envelope", func(t *testing.T) {
		k := newToken(t, a)
		k.seal(t, true)
		flawed.TestDER(t, k.response, func() error {
			_, err := auth.Verify(k.response.Bytes(), signature)
			return err
		},
			"/1/1/0/1: empty", "/1/1/0/1: more behind", "/1/1/0/1/*", // digestAlgorithms, which say what the signer says again
			"/1/1/0/3: missing", "/1/1/0/3: empty", "/1/1/0/3: more behind", // certificates
			"/1/1/0/4: missing", "/1/1/0/4: empty", "/1/1/0/4: more behind", // crls
			"/1/1/0/5/0/2: more behind", "/1/1/0/5/0/4: more behind", // NULL in the identifiers of hash and algorithm
			"/1/1/0/5/0/6: missing", "/1/1/0/5/0/6: empty", "/1/1/0/5/0/6: more behind", // unsignedAttrs
		)
	})
	t.Run("rejection", func(t *testing.T) {
		r := flawed.ParseDER(t, timestamp.Reject(timestamp.UnacceptedPolicy, "not here").Marshal())
		flawed.TestDER(t, r, func() error {
			_, err := timestamp.ParseResponse(r.Bytes())
			return err
		},
			"/0: twice",                                                                        // as if it were a token
			"/0/1: missing", "/0/1/0: twice", "/0/1/0: empty", "/0/1/0: cut", "/0/1/0: longer", // another text
			"/0/2: missing", // the reason
		)
	})
}
