package sigbox

// SANKind is the kind of subject alternative name that carries an identity.
type SANKind uint8

// The kinds; the first three are those of protobuf-specs'
// SubjectAlternativeNameType.
const (
	EmailSAN SANKind = iota + 1
	URISAN
	// OtherNameSAN is Fulcio's otherName 1.3.6.1.4.1.57264.1.7 (user names).
	OtherNameSAN
)

// String gives "email", "uri" or "otherName".
func (k SANKind) String() string {
	switch k {
	case EmailSAN:
		return "email"
	case URISAN:
		return "uri"
	case OtherNameSAN:
		return "otherName"
	}
	return "unknown"
}

// Identity is who a certificate speaks for: a name, and the issuer that vouched
// for it. Neither means anything without the other.
type Identity struct {
	// Issuer is the OpenID issuer's URL.
	Issuer string
	// Subject is the subject alternative name.
	Subject string
	Kind    SANKind
	// Extensions are what a CI provider says of the build.
	Extensions Extensions
}

// Extensions are Fulcio's certificate extensions below 1.3.6.1.4.1.57264.1; the
// field's number is its last arc. An empty field is absent from the certificate.
//
// Source: https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
type Extensions struct {
	GitHubWorkflowTrigger    string `json:"githubWorkflowTrigger,omitempty"`    // .2
	GitHubWorkflowSHA        string `json:"githubWorkflowSHA,omitempty"`        // .3
	GitHubWorkflowName       string `json:"githubWorkflowName,omitempty"`       // .4
	GitHubWorkflowRepository string `json:"githubWorkflowRepository,omitempty"` // .5
	GitHubWorkflowRef        string `json:"githubWorkflowRef,omitempty"`        // .6

	BuildSignerURI                      string `json:"buildSignerURI,omitempty"`                      // .9
	BuildSignerDigest                   string `json:"buildSignerDigest,omitempty"`                   // .10
	RunnerEnvironment                   string `json:"runnerEnvironment,omitempty"`                   // .11
	SourceRepositoryURI                 string `json:"sourceRepositoryURI,omitempty"`                 // .12
	SourceRepositoryDigest              string `json:"sourceRepositoryDigest,omitempty"`              // .13
	SourceRepositoryRef                 string `json:"sourceRepositoryRef,omitempty"`                 // .14
	SourceRepositoryIdentifier          string `json:"sourceRepositoryIdentifier,omitempty"`          // .15
	SourceRepositoryOwnerURI            string `json:"sourceRepositoryOwnerURI,omitempty"`            // .16
	SourceRepositoryOwnerIdentifier     string `json:"sourceRepositoryOwnerIdentifier,omitempty"`     // .17
	BuildConfigURI                      string `json:"buildConfigURI,omitempty"`                      // .18
	BuildConfigDigest                   string `json:"buildConfigDigest,omitempty"`                   // .19
	BuildTrigger                        string `json:"buildTrigger,omitempty"`                        // .20
	RunInvocationURI                    string `json:"runInvocationURI,omitempty"`                    // .21
	SourceRepositoryVisibilityAtSigning string `json:"sourceRepositoryVisibilityAtSigning,omitempty"` // .22
	DeploymentEnvironment               string `json:"deploymentEnvironment,omitempty"`               // .23
	TokenSubject                        string `json:"tokenSubject,omitempty"`                        // .24, the token's raw sub
}

// MaxExtensionArc is the highest arc that [Extensions] has a field for.
const MaxExtensionArc = 24

// Field gives the member of x for the extension 1.3.6.1.4.1.57264.1.arc, and its
// name as in JSON; nil for an arc that is none of them (the issuer's, .1 and .8,
// included).
func (x *Extensions) Field(arc int) (name string, value *string) {
	switch arc {
	case 2:
		return "githubWorkflowTrigger", &x.GitHubWorkflowTrigger
	case 3:
		return "githubWorkflowSHA", &x.GitHubWorkflowSHA
	case 4:
		return "githubWorkflowName", &x.GitHubWorkflowName
	case 5:
		return "githubWorkflowRepository", &x.GitHubWorkflowRepository
	case 6:
		return "githubWorkflowRef", &x.GitHubWorkflowRef
	case 9:
		return "buildSignerURI", &x.BuildSignerURI
	case 10:
		return "buildSignerDigest", &x.BuildSignerDigest
	case 11:
		return "runnerEnvironment", &x.RunnerEnvironment
	case 12:
		return "sourceRepositoryURI", &x.SourceRepositoryURI
	case 13:
		return "sourceRepositoryDigest", &x.SourceRepositoryDigest
	case 14:
		return "sourceRepositoryRef", &x.SourceRepositoryRef
	case 15:
		return "sourceRepositoryIdentifier", &x.SourceRepositoryIdentifier
	case 16:
		return "sourceRepositoryOwnerURI", &x.SourceRepositoryOwnerURI
	case 17:
		return "sourceRepositoryOwnerIdentifier", &x.SourceRepositoryOwnerIdentifier
	case 18:
		return "buildConfigURI", &x.BuildConfigURI
	case 19:
		return "buildConfigDigest", &x.BuildConfigDigest
	case 20:
		return "buildTrigger", &x.BuildTrigger
	case 21:
		return "runInvocationURI", &x.RunInvocationURI
	case 22:
		return "sourceRepositoryVisibilityAtSigning", &x.SourceRepositoryVisibilityAtSigning
	case 23:
		return "deploymentEnvironment", &x.DeploymentEnvironment
	case 24:
		return "tokenSubject", &x.TokenSubject
	}
	return "", nil
}
