// Sigstore-kms-files is a plugin for tests: keys in files. It reads the protocol by
// types of its own, so that it does not repeat a mistake of ours.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

type object = map[string]any

func main() {
	if len(os.Args) != 3 || os.Args[1] != "v1" {
		answer(object{"errorMessage": fmt.Sprintf("expected v1 and arguments, found %q", os.Args[1:])})
		os.Exit(1)
	}
	var call struct {
		InitOptions struct {
			ProtocolVersion, KeyResourceID string
			HashFunc                       crypto.Hash
		}
		MethodName  string
		CreateKey   struct{ Algorithm string }
		SignMessage struct {
			SignOptions struct {
				MessageOptions struct {
					Digest   []byte
					HashFunc crypto.Hash
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(os.Args[2]), &call); err != nil {
		refuse(err)
	}
	path := call.InitOptions.KeyResourceID
	fault, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "fault"))
	misbehave(string(fault))
	options := call.SignMessage.SignOptions.MessageOptions
	switch call.MethodName {
	case "supportedAlgorithms":
		answer(object{"supportedAlgorithms": object{"supportedAlgorithms": []string{"ECDSA-P256", "ED25519", "RSA_2048"}}})
	case "createKey":
		key, err := load(path)
		if errors.Is(err, os.ErrNotExist) {
			key, err = create(path, call.CreateKey.Algorithm)
		}
		check(err)
		answer(object{"createKey": object{"publicKeyPEM": public(key)}})
	case "publicKey":
		if string(fault) == "other" {
			path += "-other"
		}
		key, err := load(path)
		check(err)
		answer(object{"publicKey": object{"publicKeyPEM": public(key)}})
	case "signMessage":
		if string(fault) == "wrong" {
			path += "-other"
		}
		key, err := load(path)
		check(err)
		input := options.Digest
		if input == nil {
			input, err = io.ReadAll(os.Stdin)
			check(err)
		}
		sig, err := key.Sign(rand.Reader, input, options.HashFunc)
		check(err)
		answer(object{"signMessage": object{"signature": sig}, "laterMember": 1})
	default:
		refuse(fmt.Errorf("no method %q", call.MethodName))
	}
	if string(fault) == "late" {
		os.Exit(1)
	}
}

func misbehave(fault string) {
	switch fault {
	case "away":
		refuse(errors.New("the service cannot be reached"))
	case "hang":
		time.Sleep(time.Hour)
	case "orphan":
		cmd := exec.CommandContext(context.Background(), "sleep", "3600")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		check(cmd.Start())
		os.Exit(0)
	case "endless":
		for {
			if _, err := os.Stdout.WriteString(`{"errorMessage":" `); err != nil {
				time.Sleep(time.Hour)
			}
		}
	case "nonsense":
		fmt.Println("<html>")
		os.Exit(0)
	case "crash":
		fmt.Fprintln(os.Stderr, "the library has crashed\x1b[31m")
		os.Exit(3)
	case "secret":
		refuse(fmt.Errorf("403 for token %s", os.Getenv("KMS_TOKEN")))
	}
}

func load(path string) (crypto.Signer, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(file)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return key.(crypto.Signer), nil
}

func create(path, algorithm string) (key crypto.Signer, err error) {
	for _, p := range []string{path, path + "-other"} {
		switch algorithm {
		case "ECDSA-P256":
			key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		case "ED25519":
			_, key, err = ed25519.GenerateKey(rand.Reader)
		case "RSA_2048":
			key, err = rsa.GenerateKey(rand.Reader, 2048)
		default:
			return nil, fmt.Errorf("no algorithm %q", algorithm)
		}
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(p, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			return nil, err
		}
		if algorithm == "RSA_2048" {
			break // the other is for tests of the other kinds
		}
	}
	return load(path)
}

func public(key crypto.Signer) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	check(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func answer(v object) { check(json.NewEncoder(os.Stdout).Encode(v)) }

func refuse(err error) {
	answer(object{"errorMessage": err.Error()})
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		refuse(err)
	}
}
