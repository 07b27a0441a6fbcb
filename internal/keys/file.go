package keys

import (
	"crypto"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
)

// Load reads a private key from a file that its owner alone can read. When there
// is no such file, the error is of kind NotFound.
func Load(path string, pass Passphrase) (crypto.Signer, error) {
	file, err := readPrivate(path, maxSize)
	if err != nil {
		return nil, err
	}
	key, err := Parse(file, pass)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", path, err)
	}
	return key, nil
}

// IsEncrypted reports whether a key file takes a passphrase to be used. Errors: as of
// [Load], as far as they show without one.
func IsEncrypted(path string) (bool, error) {
	file, err := readPrivate(path, maxSize)
	if err != nil {
		return false, err
	}
	block, err := decode(file)
	if err != nil {
		return false, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", path, err)
	}
	return block.Type == encryptedType || block.Type == cosignType, nil
}

// LoadKind is Load for a key of one kind: another is refused. With a passphrase,
// a key that stands in the clear is encrypted in its place.
func LoadKind(path string, details sigbox.KeyDetails, pass Passphrase) (crypto.Signer, error) {
	key, err := Load(path, pass)
	if err != nil {
		return nil, err
	}
	if err := details.CheckKey(key.Public()); err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: %w", path, err)
	}
	return key, protect(path, key, pass)
}

// LoadOrCreate is LoadKind, and makes the key if there is none; of several callers
// at once all get the same key.
func LoadOrCreate(path string, details sigbox.KeyDetails, pass Passphrase) (crypto.Signer, error) {
	key, err := LoadKind(path, details, pass)
	if err == nil || sigbox.KindOf(err) != sigbox.NotFound {
		return key, err
	}
	key, err = create(path, details, pass)
	if errors.Is(err, fs.ErrExist) {
		return LoadKind(path, details, pass)
	}
	return key, err
}

// create makes a key where there is none; fs.ErrExist says that there is.
func create(path string, details sigbox.KeyDetails, pass Passphrase) (crypto.Signer, error) {
	key, err := Generate(details)
	if err != nil {
		return nil, err
	}
	file, err := Marshal(key, pass)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, sigbox.Errorf(sigbox.Denied, "cannot make the key directory: %w", err)
	}
	if err := atomicfile.Create(path, file, 0o600); err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "cannot write the key: %w", err)
	}
	return key, nil
}

// protect encrypts a key that stands in the clear, if there is a passphrase.
func protect(path string, key crypto.Signer, pass Passphrase) error {
	if pass == nil {
		return nil
	}
	file, err := readPrivate(path, maxSize)
	if err != nil {
		return err
	}
	if block, _ := pem.Decode(file); block == nil || block.Type != plainType {
		return nil
	}
	if file, err = Marshal(key, pass); err != nil {
		return err
	}
	if err := atomicfile.Replace(path, file, 0o600); err != nil {
		return sigbox.Errorf(sigbox.Internal, "cannot encrypt the key in its place: %w", err)
	}
	return nil
}

// readPrivate reads a file of at most limit bytes that group and others have no
// access to.
func readPrivate(path string, limit int64) ([]byte, error) {
	// A pipe that nobody writes to is not waited for: it is refused below.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // #nosec G304 -- the caller's
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, sigbox.Errorf(sigbox.NotFound, "%w", err)
	case err != nil:
		return nil, sigbox.Errorf(sigbox.Denied, "%w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s is no regular file: a secret stands in one that its owner alone can read", path)
	}
	if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm&0o077 != 0 {
		return nil, sigbox.Errorf(sigbox.Denied, "%s: others than its owner have access to this secret (mode %04o)", path, perm).
			WithHint("chmod 600 %s", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	if int64(len(b)) > limit {
		return nil, sigbox.Errorf(sigbox.TooLarge, "%s: larger than %d bytes", path, limit)
	}
	return b, nil
}
