package oci

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/sigbox/sigbox"
)

// Reference names an image or artifact in a registry, by tag, by digest or by both;
// then the digest counts.
type Reference struct {
	repo   name.Repository
	tag    string
	digest sigbox.Digest
}

// maxReference bounds a reference, in bytes: a host's name, 255 of a repository, 128
// of a tag, and a digest.
const maxReference = 1024

// ParseReference reads a reference as Docker does: "debian" is Docker Hub's, and
// where there is neither tag nor digest the tag is "latest". The error is of kind
// Invalid.
func ParseReference(s string) (Reference, error) {
	if len(s) > maxReference {
		return Reference{}, sigbox.Errorf(sigbox.Invalid, "image reference of %d bytes: at most %d are read", len(s), maxReference)
	}
	if base, rest, found := strings.Cut(s, "://"); found {
		return Reference{}, sigbox.Errorf(sigbox.Invalid, "image reference %q: %s:// does not belong there", s, base).WithHint("write %s", rest)
	}
	base, digest, pinned := strings.Cut(s, "@")
	tagged, err := name.NewTag(base, name.WithDefaultTag(""))
	if err != nil || !isHost(tagged.RegistryStr()) || !isRepository(tagged.RepositoryStr()) || !isTag(tagged.TagStr()) {
		return Reference{}, sigbox.Errorf(sigbox.Invalid, "image reference %q cannot be read", s).
			WithHint("write it as in registry.example/repository:tag or repository@sha256:…, in lower case").WithCause(err)
	}
	r := Reference{repo: tagged.Repository, tag: tagged.TagStr()}
	if pinned {
		if r.digest, err = sigbox.ParseDigest(digest); err != nil {
			return Reference{}, sigbox.Errorf(sigbox.Invalid, "image reference %q: %w", s, err)
		}
	} else if r.tag == "" {
		r.tag = name.DefaultTag
	}
	return r, nil
}

// isHost reports whether a registry's name is one of a host, not of a path.
func isHost(s string) bool {
	return s != "" && !strings.HasPrefix(s, ".") && !strings.Contains(s, "..") && !strings.ContainsFunc(s, func(r rune) bool {
		return !isLowerAlphanumeric(r) && (r < 'A' || r > 'Z') && !strings.ContainsRune(".-_:[]", r)
	})
}

// isRepository holds a name against distribution-spec v1.1.1, Pulling manifests:
// parts of lower-case letters and digits, with one dot, one or two underscores or any
// number of dashes between them.
func isRepository(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		words := strings.FieldsFunc(part, func(r rune) bool { return !isLowerAlphanumeric(r) })
		if len(words) == 0 || !strings.HasPrefix(part, words[0]) {
			return false
		}
		rest := part[len(words[0]):]
		for _, w := range words[1:] {
			separator, after, _ := strings.Cut(rest, w)
			if separator != "." && separator != "_" && separator != "__" && strings.Trim(separator, "-") != "" {
				return false
			}
			rest = after
		}
		if rest != "" {
			return false
		}
	}
	return true
}

func isLowerAlphanumeric(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' }

// isTag holds the beginning of a tag, of which the letters are known to be right,
// against the same. There may be none.
func isTag(s string) bool { return s == "" || s[0] != '.' && s[0] != '-' }

// String gives the reference in full.
func (r Reference) String() string {
	s := r.repo.Name()
	if r.tag != "" {
		s += ":" + r.tag
	}
	if !r.digest.IsZero() {
		s += "@" + r.digest.String()
	}
	return s
}

// Repository gives "registry.example/app".
func (r Reference) Repository() string { return r.repo.Name() }

// Tag gives the tag, or "".
func (r Reference) Tag() string { return r.tag }

// Digest gives the digest, or zero.
func (r Reference) Digest() sigbox.Digest { return r.digest }

// IsZero reports whether r is no reference.
func (r Reference) IsZero() bool { return r.repo.RepositoryStr() == "" }

// At gives the reference to a digest in the same repository.
func (r Reference) At(d sigbox.Digest) Reference { return Reference{repo: r.repo, digest: d} }

// Tagged gives the reference to a tag in the same repository.
func (r Reference) Tagged(tag string) Reference { return Reference{repo: r.repo, tag: tag} }

// identifier is what stands behind /manifests/.
func (r Reference) identifier() string {
	if !r.digest.IsZero() {
		return r.digest.String()
	}
	return r.tag
}

// fallback is the tag of what belongs to a digest where there is no referrers API; with
// a suffix it is cosign's.
func (r Reference) fallback(suffix string) Reference {
	return r.Tagged(fallbackTag(r.digest, suffix))
}

// fallbackTag is cut as distribution-spec v1.1.1, Referrers Tag Schema, says; cosign
// cuts nothing.
func fallbackTag(d sigbox.Digest, suffix string) string {
	const most = 64 // characters of the digest
	value := d.Hex()
	if suffix == "" && len(value) > most {
		value = value[:most]
	}
	return d.Algorithm.String() + "-" + value + suffix
}

// maxTag is how long a tag may be (distribution-spec v1.1.1, Pulling manifests).
const maxTag = 128

// canBe reports whether a registry can have such a tag: of a digest that is longer than
// SHA-256 none of cosign's can be.
func (r Reference) canBe() bool { return len(r.tag) <= maxTag }
