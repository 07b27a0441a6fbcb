package keys

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox"
)

// Passphrase gives the passphrase of key files; nil stands for none.
type Passphrase func() ([]byte, error)

const (
	sources = "env:NAME, file:PATH or credential:NAME"

	maxPassphrase = 4 << 10
)

// PassphraseFrom reads where a passphrase is:
//
//	""                none, keys stand in the clear
//	env:NAME          an environment variable
//	file:PATH         a file, without its last line end
//	credential:NAME   a systemd credential (systemd.exec(5), LoadCredential=)
//
// Nothing is read before it is needed.
func PassphraseFrom(source string) (Passphrase, error) {
	if source == "" {
		return nil, nil
	}
	kind, name, _ := strings.Cut(source, ":")
	switch {
	case name == "":
	case kind == "env":
		return func() ([]byte, error) { return usable(source, []byte(os.Getenv(name))) }, nil
	case kind == "file":
		return func() ([]byte, error) { return fromFile(source, name) }, nil
	case kind == "credential" && filepath.IsLocal(name):
		return func() ([]byte, error) { return fromCredential(source, name) }, nil
	}
	return nil, sigbox.Errorf(sigbox.Invalid, "passphrase source %.60q: expected %s", source, sources)
}

func fromCredential(source, name string) ([]byte, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "passphrase %s: CREDENTIALS_DIRECTORY is not set", source).
			WithHint("start sigbox from a systemd unit with LoadCredential=%s:PATH", name)
	}
	return fromFile(source, filepath.Join(dir, name))
}

func fromFile(source, path string) ([]byte, error) {
	b, err := readPrivate(path, maxPassphrase)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "passphrase %s: %w", source, err)
	}
	return usable(source, b)
}

// usable takes the last line end off and refuses what is empty.
func usable(source string, b []byte) ([]byte, error) {
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if len(b) == 0 {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "passphrase %s: it is empty or not set", source)
	}
	return b, nil
}
