package plugin

import (
	"crypto"
	"encoding/pem"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
	"github.com/sigbox/sigbox/internal/keys"
)

// Version is the protocol's; it is a plugin's first argument.
const Version = "v1"

// The methods; sigbox calls the first four, and others the rest.
const (
	MethodAlgorithms = "supportedAlgorithms"
	MethodCreate     = "createKey"
	MethodPublic     = "publicKey"
	MethodSign       = "signMessage"
	MethodDefault    = "defaultAlgorithm"
	MethodVerify     = "verifySignature"
)

// Call is the JSON of a plugin's second argument: what is asked for, and in the
// member named like the method, with what.
type Call struct {
	Init       Init        `json:"initOptions"`
	Method     string      `json:"methodName"`
	Algorithms *struct{}   `json:"supportedAlgorithms,omitzero"`
	Create     *CreateCall `json:"createKey,omitzero"`
	Public     *PublicCall `json:"publicKey,omitzero"`
	Sign       *SignCall   `json:"signMessage,omitzero"`
	Verify     *VerifyCall `json:"verifySignature,omitzero"`
}

// Init says which key is meant. Hashes are numbers of Go's crypto.Hash.
type Init struct {
	Deadline time.Time  `json:"ctxDeadline,omitzero"`
	Version  string     `json:"protocolVersion"`
	Key      string     `json:"keyResourceID"`
	Hash     uint       `json:"hashFunc"`
	RPC      RPCOptions `json:"rpcOptions"`
}

// RPCOptions are part of each call.
type RPCOptions struct {
	Deadline time.Time `json:"ctxDeadline,omitzero"`
}

// CreateCall asks for a key.
type CreateCall struct {
	Deadline  time.Time `json:"ctxDeadline,omitzero"`
	Algorithm string    `json:"algorithm"`
}

// PublicCall asks for the public half.
type PublicCall struct {
	Options struct {
		RPC RPCOptions `json:"rpcOptions"`
	} `json:"publicKeyOptions"`
}

// SignCall asks for a signature, of the digest or else of the message on the standard
// input.
type SignCall struct {
	Options SignOptions `json:"signOptions"`
}

// VerifyCall asks whether a signature is the key's.
type VerifyCall struct {
	Signature []byte      `json:"signature"`
	Options   SignOptions `json:"verifyOptions"`
}

// SignOptions are those of SignCall.
type SignOptions struct {
	RPC     RPCOptions     `json:"rpcOptions"`
	Message MessageOptions `json:"messageOptions"`
}

// MessageOptions have a digest and its hash, or neither.
type MessageOptions struct {
	Digest []byte `json:"digest,omitempty"`
	Hash   uint   `json:"hashFunc,omitzero"`
}

// Answer is what a plugin writes: an error, or the member named like the method.
type Answer struct {
	Error      string           `json:"errorMessage,omitempty"`
	Algorithms *AlgorithmAnswer `json:"supportedAlgorithms,omitzero"`
	Create     *PublicAnswer    `json:"createKey,omitzero"`
	Public     *PublicAnswer    `json:"publicKey,omitzero"`
	Sign       *SignAnswer      `json:"signMessage,omitzero"`
	Default    *DefaultAnswer   `json:"defaultAlgorithm,omitzero"`
	Verify     *struct{}        `json:"verifySignature,omitzero"`
}

// DefaultAnswer names what keys a plugin makes when it is not told.
type DefaultAnswer struct {
	Algorithm string `json:"defaultAlgorithm"`
}

// AlgorithmAnswer lists what keys a plugin makes.
type AlgorithmAnswer struct {
	Algorithms []string `json:"supportedAlgorithms"`
}

// PublicAnswer has a public key in PEM.
type PublicAnswer struct {
	PEM []byte `json:"publicKeyPEM"`
}

// SignAnswer has a signature.
type SignAnswer struct {
	Signature []byte `json:"signature"`
}

// maxAnswer bounds an answer, in bytes: the largest there is to say are a key and a
// signature of RSA.
const maxAnswer = 64 << 10

// ParseAnswer reads what a plugin has written. Members that are not known are passed
// over, since the protocol may get some without another version.
func ParseAnswer(b []byte) (Answer, error) {
	var a Answer
	if len(b) > maxAnswer {
		return a, sigbox.Errorf(sigbox.TooLarge, "the plugin's answer: at most %d bytes are read", maxAnswer)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return Answer{}, jsonerr.Of("the plugin's answer", err)
	}
	return a, nil
}

// ParseCall reads a plugin's second argument.
func ParseCall(b []byte) (Call, error) {
	var c Call
	if err := json.Unmarshal(b, &c); err != nil {
		return Call{}, jsonerr.Of("the plugin's argument", err)
	}
	return c, nil
}

// publicKey reads the PEM of an answer.
func (a *PublicAnswer) publicKey() (crypto.PublicKey, error) {
	if a == nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the plugin has answered without a public key")
	}
	block, _ := pem.Decode(a.PEM)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, sigbox.Errorf(sigbox.Invalid, "the plugin's public key: expected PEM of type PUBLIC KEY")
	}
	return sigbox.ParsePublicKey(block.Bytes)
}

// algorithmFor finds, in what a plugin lists, the name that it has for an algorithm.
// The protocol leaves names to plugins; these are those of Sigstore's own sources.
func algorithmFor(details sigbox.KeyDetails, listed []string) (string, bool) {
	known := map[sigbox.KeyDetails][]string{
		sigbox.ECDSAP256SHA256:     {"ecdsap256sha256", "ecdsap256", "eccnistp256", "ecsignp256sha256", "es256", "p256"},
		sigbox.Ed25519:             {"ed25519", "ecsigned25519", "eccnistedwards25519", "eddsa"},
		sigbox.RSAPKCS1v15With2048: {"rsapkcs1v152048sha256", "rsa2048", "rsasignpkcs12048sha256"},
	}[details]
	plain := strings.NewReplacer("-", "", "_", "", ".", "", " ", "")
	for _, want := range known {
		for _, name := range listed {
			if plain.Replace(strings.ToLower(name)) == want {
				return name, true
			}
		}
	}
	return "", false
}

// hashNumber is a hash as the protocol has it.
func hashNumber(h crypto.Hash) uint { return uint(h) }

var _ keys.Source = (*key)(nil)
