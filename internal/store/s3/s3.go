// Package s3 keeps small texts in a bucket of Amazon S3, or of a server that speaks its
// protocol (https://docs.aws.amazon.com/AmazonS3/latest/API), for the anchors of logs.
//
// Every write is conditional (If-Match, If-None-Match): of two writers, one is told
// that it was not first. A server that ignores conditions is refused.
//
// Credentials are those of the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
// AWS_SESSION_TOKEN), of the shared file ~/.aws/credentials (AWS_PROFILE), or of the
// role of a container, a cluster's service account or a machine, in this order.
package s3

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/transport/http"

	"github.com/sigbox/sigbox"
)

// Scheme begins the URLs of buckets.
const Scheme = "s3://"

const (
	// callTime is how long one call may take, with its tries.
	callTime = 20 * time.Second
	// roleTime is how long a machine may take to say what its role is.
	roleTime = 5 * time.Second
	// expiryWindow is how long before their end a role's credentials are renewed.
	expiryWindow = 5 * time.Minute
	// tries is how often a call is tried.
	tries = 3
	// amazon is the server unless another one is named.
	amazon = "https://s3.amazonaws.com"
	// anyRegion is that of servers that have none, and where Amazon's is asked for.
	anyRegion = "us-east-1"
)

// Location is a place in a bucket.
type Location struct {
	Bucket string
	// Prefix begins the keys of all objects; "" or with a slash at its end.
	Prefix string
	// Endpoint is the URL of the server; "": AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or
	// Amazon's.
	Endpoint string
	// Region is the bucket's; "": AWS_REGION, AWS_DEFAULT_REGION, or the server is
	// asked.
	Region string
}

// ParseURL reads s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME].
func ParseURL(text string) (Location, error) {
	invalid := func(why string) (Location, error) {
		return Location{}, sigbox.Errorf(sigbox.Invalid, "the URL %.200q of a bucket: %s", withoutSecrets(text), why).
			WithHint("expected s3://BUCKET/PREFIX, and where it is not Amazon's ?endpoint=https://HOST; keys and passwords do not belong there")
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil || u.Fragment != "" || u.Port() != "" {
		return invalid("it is not one")
	}
	l := Location{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if l.Prefix != "" {
		l.Prefix += "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return invalid("what follows the question mark cannot be read")
	}
	for name, values := range query {
		switch {
		case len(values) != 1 || values[0] == "":
			return invalid(name + " needs one value")
		case name == "endpoint":
			l.Endpoint = values[0]
		case name == "region":
			l.Region = values[0]
		default:
			return invalid("there is no " + name)
		}
	}
	if l.Endpoint != "" {
		if _, err := parseEndpoint(l.Endpoint); err != nil {
			return invalid("its endpoint is not the URL of a server: expected https://HOST or https://HOST:PORT")
		}
	}
	return l, nil
}

// withoutSecrets leaves out of a URL what may be a key or a password that somebody has
// written there: errors go to logs.
func withoutSecrets(text string) string {
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		text = "..." + text[at:]
	}
	text, _, _ = strings.Cut(text, "?")
	return text
}

// parseEndpoint reads the URL of a server.
func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, sigbox.Errorf(sigbox.Invalid, "the endpoint %.200q is not the URL of a server", withoutSecrets(text)).WithHint("expected https://HOST or https://HOST:PORT")
	}
	return u, nil
}

// Bucket is a place in a bucket that can be read and written.
type Bucket struct {
	at      Location
	options s3.Options

	mu    sync.Mutex
	ready *s3.Client // guarded by mu; nil: the region is not known yet
}

// Open prepares for a place. Nothing is sent yet.
func Open(at Location) (*Bucket, error) {
	endpoint, err := parseEndpoint(first(at.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), amazon))
	if err != nil {
		return nil, err
	}
	o := s3.Options{
		Region:                     first(at.Region, environmentRegion()),
		Credentials:                aws.NewCredentialsCache(chain{}, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = expiryWindow }),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired, // not all servers know the newer ones
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = tries
			o.RateLimiter = ratelimit.None
		}),
	}
	if server := endpoint.Scheme + "://" + endpoint.Host; server == amazon {
		o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	} else {
		o.BaseEndpoint = aws.String(server)
		host := endpoint.Hostname()
		o.UsePathStyle = !strings.HasSuffix(host, ".amazonaws.com") && !strings.HasSuffix(host, ".amazonaws.com.cn")
	}
	b := &Bucket{at: at, options: o}
	if o.Region != "" {
		b.ready = s3.New(o)
	}
	return b, nil
}

// client gives what speaks to the server. If need be it asks for the region first.
func (b *Bucket) client(ctx context.Context) (*s3.Client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ready == nil {
		o := b.options
		o.Region = anyRegion
		region, err := b.askRegion(ctx, s3.New(o))
		if err != nil {
			return nil, err
		}
		o.Region = first(region, anyRegion)
		b.ready = s3.New(o)
	}
	return b.ready, nil
}

// askRegion gives the region that the server names, also where it refuses or redirects
// the call; "" if it names none.
func (b *Bucket) askRegion(ctx context.Context, client *s3.Client) (string, error) {
	out, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.at.Bucket})
	if err == nil {
		return aws.ToString(out.BucketRegion), nil
	}
	if r, ok := errors.AsType[*http.ResponseError](err); ok && r.Response != nil && r.HTTPStatusCode() < 500 {
		return r.Response.Header.Get("X-Amz-Bucket-Region"), nil
	}
	return "", err
}

// environmentRegion gives the region that the environment names, or "".
func environmentRegion() string {
	return first(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
}

// first gives the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// Anchor gives the text that has a name in the bucket.
func (b *Bucket) Anchor(name string) *Anchor {
	return &Anchor{bucket: b, key: b.at.Prefix + name}
}
