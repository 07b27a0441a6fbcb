package keys

import (
	"crypto/rand"

	"github.com/go-json-experiment/json"
	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
)

// The key file format that cosign and the sigstore libraries share: JSON that
// names scrypt and nacl/secretbox with their parameters, around PKCS #8.
const (
	kdfName    = "scrypt"
	cipherName = "nacl/secretbox"
	saltSize   = 32
	nonceSize  = 24

	// What is written: 64 MiB and about 0.2 s a key.
	scryptN, scryptR, scryptP = 1 << 16, 8, 1
)

type envelope struct {
	KDF        kdf    `json:"kdf"`
	Cipher     cipher `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

type kdf struct {
	Name   string    `json:"name"`
	Params kdfParams `json:"params"`
	Salt   []byte    `json:"salt"`
}

type kdfParams struct {
	N int `json:"N"`
	R int `json:"r"`
	P int `json:"p"`
}

type cipher struct {
	Name  string `json:"name"`
	Nonce []byte `json:"nonce"`
}

// decrypt opens an encrypted key's PEM body.
func decrypt(body []byte, pass Passphrase) ([]byte, error) {
	env, err := parseEnvelope(body)
	if err != nil {
		return nil, err
	}
	if pass == nil {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "the key is encrypted and there is no passphrase").
			WithHint("say with --passphrase where it is: %s", sources)
	}
	secret, err := pass()
	if err != nil {
		return nil, err
	}
	return env.open(secret)
}

// parseEnvelope reads the JSON strictly. The cost parameters are bounded before
// anything is computed with them: 2^17 takes 128 MiB.
func parseEnvelope(body []byte) (*envelope, error) {
	var e envelope
	if err := json.Unmarshal(body, &e, json.RejectUnknownMembers(true)); err != nil {
		return nil, jsonerr.Of("encrypted key", err)
	}
	p := e.KDF.Params
	switch {
	case e.KDF.Name != kdfName:
		return nil, sigbox.Mismatch(sigbox.Invalid, "encrypted key: key derivation", kdfName, quoted(e.KDF.Name))
	case e.Cipher.Name != cipherName:
		return nil, sigbox.Mismatch(sigbox.Invalid, "encrypted key: cipher", cipherName, quoted(e.Cipher.Name))
	case p.N != 1<<15 && p.N != 1<<16 && p.N != 1<<17, p.R != 8, p.P != 1:
		return nil, sigbox.Errorf(sigbox.Invalid, "encrypted key: scrypt parameters N=%d r=%d p=%d: expected N of 32768, 65536 or 131072, r=8 and p=1", p.N, p.R, p.P)
	case len(e.KDF.Salt) != saltSize:
		return nil, sigbox.Mismatch(sigbox.Invalid, "encrypted key: bytes of salt", saltSize, len(e.KDF.Salt))
	case len(e.Cipher.Nonce) != nonceSize:
		return nil, sigbox.Mismatch(sigbox.Invalid, "encrypted key: bytes of nonce", nonceSize, len(e.Cipher.Nonce))
	case len(e.Ciphertext) <= secretbox.Overhead:
		return nil, sigbox.Errorf(sigbox.Invalid, "encrypted key: the ciphertext is cut off")
	}
	return &e, nil
}

func (e *envelope) open(passphrase []byte) ([]byte, error) {
	key, err := e.derive(passphrase)
	if err != nil {
		return nil, err
	}
	plain, ok := secretbox.Open(nil, e.Ciphertext, (*[nonceSize]byte)(e.Cipher.Nonce), key)
	if !ok {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "the passphrase does not open the key").
			WithHint("check the passphrase; if it is right, the file was damaged")
	}
	return plain, nil
}

func (e *envelope) derive(passphrase []byte) (*[32]byte, error) {
	k, err := scrypt.Key(passphrase, e.KDF.Salt, e.KDF.Params.N, e.KDF.Params.R, e.KDF.Params.P, 32)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "scrypt: %w", err)
	}
	return (*[32]byte)(k), nil
}

// seal encrypts plain under a fresh salt and nonce.
func seal(plain, passphrase []byte) ([]byte, error) {
	e := envelope{
		KDF:    kdf{Name: kdfName, Params: kdfParams{scryptN, scryptR, scryptP}, Salt: make([]byte, saltSize)},
		Cipher: cipher{Name: cipherName, Nonce: make([]byte, nonceSize)},
	}
	// crypto/rand.Read never fails: it ends the program instead.
	_, _ = rand.Read(e.KDF.Salt)
	_, _ = rand.Read(e.Cipher.Nonce)
	key, err := e.derive(passphrase)
	if err != nil {
		return nil, err
	}
	e.Ciphertext = secretbox.Seal(nil, plain, (*[nonceSize]byte)(e.Cipher.Nonce), key)
	return json.Marshal(e)
}
