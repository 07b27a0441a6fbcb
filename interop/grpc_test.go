package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	dssepb "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	rekorpb "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	tilespb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// dialLog gives grpc-go's client of an instance's log.
func dialLog(t *testing.T, in *instance, creds credentials.TransportCredentials) tilespb.RekorClient {
	t.Helper()
	_, addr, _ := strings.Cut(in.url, "://")
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return tilespb.NewRekorClient(conn)
}

// logKey signs what is logged.
type logKey struct {
	*ecdsa.PrivateKey
	verifier *tilespb.Verifier
}

func newLogKey(t *testing.T) logKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return logKey{key, &tilespb.Verifier{
		Verifier:   &tilespb.Verifier_PublicKey{PublicKey: &tilespb.PublicKey{RawBytes: der}},
		KeyDetails: commonpb.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
	}}
}

func (k logKey) sign(t *testing.T, message string) (digest, signature []byte) {
	t.Helper()
	sum := sha256.Sum256([]byte(message))
	signature, err := ecdsa.SignASN1(rand.Reader, k.PrivateKey, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return sum[:], signature
}

// request asks for an entry over a message.
func (k logKey) request(t *testing.T, message string) *tilespb.CreateEntryRequest {
	t.Helper()
	digest, signature := k.sign(t, message)
	return &tilespb.CreateEntryRequest{Spec: &tilespb.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: &tilespb.HashedRekordRequestV002{
		Digest: digest, Signature: &tilespb.Signature{Content: signature, Verifier: k.verifier},
	}}}
}

// checkProof checks that an entry's leaf is in the tree that its proof names.
func checkProof(t *testing.T, e *rekorpb.TransparencyLogEntry) {
	t.Helper()
	p := e.GetInclusionProof()
	var root tlog.Hash
	copy(root[:], p.GetRootHash())
	proof := make(tlog.RecordProof, len(p.GetHashes()))
	for i, h := range p.GetHashes() {
		copy(proof[i][:], h)
	}
	if err := tlog.CheckRecord(proof, p.GetTreeSize(), root, p.GetLogIndex(), tlog.RecordHash(e.GetCanonicalizedBody())); err != nil {
		t.Error(err)
	}
	if want := fmt.Sprintf("\n%d\n%s\n", p.GetTreeSize(), base64.StdEncoding.EncodeToString(root[:])); !strings.Contains(p.GetCheckpoint().GetEnvelope(), want) {
		t.Errorf("the checkpoint is of another tree: %s", p.GetCheckpoint().GetEnvelope())
	}
}

// TestGRPC has grpc-go, with the messages that rekor-tiles generates, use the log
// without and with TLS.
func TestGRPC(t *testing.T) {
	t.Run("h2c", func(t *testing.T) {
		in := serve(t)
		useLog(t, in, http.DefaultClient, dialLog(t, in, insecure.NewCredentials()))
	})
	t.Run("TLS", func(t *testing.T) {
		dir := t.TempDir()
		roots, flags := selfSigned(t, dir)
		config := &tls.Config{RootCAs: roots}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		defer client.CloseIdleConnections()
		in := serveWith(t, "https", client, flags...)
		useLog(t, in, client, dialLog(t, in, credentials.NewTLS(config)))
	})
}

// selfSigned makes a certificate for loopback, and what serve is to be told of it.
func selfSigned(t *testing.T, dir string) (roots *x509.CertPool, flags []string) {
	t.Helper()
	key := newLogKey(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sigbox"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(certPEM))
	return roots, []string{
		"--tls-cert", write(t, filepath.Join(dir, "cert.pem"), certPEM),
		"--tls-key", write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))),
	}
}

func useLog(t *testing.T, in *instance, client *http.Client, log tilespb.RekorClient) {
	key := newLogKey(t)
	var first *rekorpb.TransparencyLogEntry
	t.Run("an entry, again, and over HTTP", func(t *testing.T) {
		request := key.request(t, "artifact")
		var err error
		if first, err = log.CreateEntry(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		checkProof(t, first)
		if len(first.GetLogId().GetKeyId()) != 32 || first.GetKindVersion().GetKind() != "hashedrekord" || first.GetKindVersion().GetVersion() != "0.0.2" || first.GetIntegratedTime() != 0 {
			t.Errorf("found %v", first)
		}
		again, err := log.CreateEntry(t.Context(), request)
		if err != nil || !proto.Equal(first, again) {
			t.Errorf("the same again: %v, %v", again, err)
		}
		if over := postEntry(t, in, client, request); !proto.Equal(first, over) {
			t.Errorf("over HTTP: %v", over)
		}
	})
	t.Run("an envelope", func(t *testing.T) {
		const payloadType, payload = "text/plain", "a statement"
		_, signature := key.sign(t, fmt.Sprintf("DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload))
		e, err := log.CreateEntry(t.Context(), &tilespb.CreateEntryRequest{Spec: &tilespb.CreateEntryRequest_DsseRequestV002{DsseRequestV002: &tilespb.DSSERequestV002{
			Envelope:  &dssepb.Envelope{Payload: []byte(payload), PayloadType: payloadType, Signatures: []*dssepb.Signature{{Sig: signature, Keyid: "a hint"}}},
			Verifiers: []*tilespb.Verifier{key.verifier},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		checkProof(t, e)
		if e.GetKindVersion().GetKind() != "hashedrekord" {
			t.Errorf("logged as %v", e.GetKindVersion())
		}
	})
	t.Run("many at once", func(t *testing.T) {
		var group sync.WaitGroup
		for n := range 300 { // more than a connection has streams
			request := key.request(t, fmt.Sprint("artifact ", n))
			group.Go(func() {
				e, err := log.CreateEntry(t.Context(), request)
				if err != nil {
					t.Error(err)
					return
				}
				checkProof(t, e)
			})
		}
		group.Wait()
	})
	t.Run("what HTTP serves", func(t *testing.T) {
		for path, call := range map[string]func() (interface{ GetData() []byte }, error){
			"checkpoint": func() (interface{ GetData() []byte }, error) { return log.GetCheckpoint(t.Context(), &emptypb.Empty{}) },
			"tile/0/000": func() (interface{ GetData() []byte }, error) {
				return log.GetTile(t.Context(), &tilespb.TileRequest{N: "000"})
			},
			"tile/1/000.p/1": func() (interface{ GetData() []byte }, error) {
				return log.GetTile(t.Context(), &tilespb.TileRequest{L: 1, N: "000.p/1"})
			},
			"tile/entries/000": func() (interface{ GetData() []byte }, error) {
				return log.GetEntryBundle(t.Context(), &tilespb.EntryBundleRequest{N: "000"})
			},
			"tile/entries/001.p/1": func() (interface{ GetData() []byte }, error) {
				return log.GetEntryBundle(t.Context(), &tilespb.EntryBundleRequest{N: "001.p/1"})
			},
		} {
			body, err := call()
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if over := get(t, client, in.url+"/api/v2/"+path); !bytes.Equal(body.GetData(), over) {
				t.Errorf("%s: %d bytes, %d over HTTP", path, len(body.GetData()), len(over))
			}
		}
	})
	t.Run("refusals", func(t *testing.T) { refusals(t, log, key) })
}

func refusals(t *testing.T, log tilespb.RekorClient, key logKey) {
	spoil := func(change func(*tilespb.HashedRekordRequestV002)) *tilespb.CreateEntryRequest {
		r := proto.CloneOf(key.request(t, "spoilt"))
		change(r.GetHashedRekordRequestV002())
		return r
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		request *tilespb.CreateEntryRequest
		options []grpc.CallOption
		want    codes.Code
		says    string
	}{
		"nothing": {request: &tilespb.CreateEntryRequest{}, want: codes.InvalidArgument, says: "neither"},
		"another artifact's signature": {want: codes.InvalidArgument, request: spoil(func(r *tilespb.HashedRekordRequestV002) {
			r.Digest = make([]byte, 32)
		})},
		"an algorithm that is not logged": {want: codes.InvalidArgument, says: "Ed25519ph", request: spoil(func(r *tilespb.HashedRekordRequestV002) {
			r.Signature.Verifier.KeyDetails = commonpb.PublicKeyDetails_PKIX_ED25519
		})},
		"an entry that is too large": {want: codes.InvalidArgument, says: "65535", request: spoil(func(r *tilespb.HashedRekordRequestV002) {
			r.Signature.Verifier.Verifier = &tilespb.Verifier_X509Certificate{X509Certificate: &commonpb.X509Certificate{RawBytes: make([]byte, 1<<16)}}
		})},
		"a message that is too large": {want: codes.ResourceExhausted, says: "larger than", request: spoil(func(r *tilespb.HashedRekordRequestV002) {
			r.Digest = make([]byte, 5<<20)
		})},
		"compressed": {want: codes.Unimplemented, says: "gzip", request: key.request(t, "compressed"), options: []grpc.CallOption{grpc.UseCompressor(gzip.Name)}},
		"cancelled":  {ctx: ended, want: codes.Canceled, request: key.request(t, "cancelled")},
	} {
		if c.ctx == nil {
			c.ctx = t.Context()
		}
		_, err := log.CreateEntry(c.ctx, c.request, c.options...)
		if status.Code(err) != c.want || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: expected %v with %q, found %v", name, c.want, c.says, err)
		}
	}
	if _, err := log.GetTile(t.Context(), &tilespb.TileRequest{L: 0, N: "x999/000"}); status.Code(err) != codes.NotFound {
		t.Errorf("a tile that is not there: %v", err)
	}
}

// TestGRPCOverload: who finds no room is told when to come again, and a client that
// retries gets through.
func TestGRPCOverload(t *testing.T) {
	config := write(t, filepath.Join(t.TempDir(), "config.yaml"), "limits:\n  requests: 1\n")
	in := serveWith(t, "http", http.DefaultClient, "--config", config)
	log := dialLog(t, in, insecure.NewCredentials())
	body, hold := io.Pipe()
	held := make(chan error, 1)
	go func() {
		resp, err := http.Post(in.url+"/api/v2/log/entries", "application/json", body)
		if err == nil {
			err = resp.Body.Close()
		}
		held <- err
	}()
	if _, err := hold.Write([]byte("{")); err != nil { // taken by the transport: the request has begun
		t.Fatal(err)
	}
	var refused error
	for refused == nil {
		_, refused = log.GetCheckpoint(t.Context(), &emptypb.Empty{})
	}
	s := status.Convert(refused)
	if s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "in flight") || len(s.Details()) != 1 {
		t.Fatalf("expected UNAVAILABLE with a detail, found %v", refused)
	}
	if info, ok := s.Details()[0].(*errdetails.RetryInfo); !ok || info.GetRetryDelay().AsDuration() != time.Second {
		t.Errorf("found %v", s.Details()[0])
	}

	// The room is there from the first refusal on. A client left to itself would come
	// back in a minute.
	release := sync.OnceFunc(func() { _ = hold.Close() })
	retrying, err := grpc.NewClient(strings.TrimPrefix(in.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStatsHandler(onTrailer(release)),
		grpc.WithDefaultServiceConfig(`{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":5,"initialBackoff":"60s","maxBackoff":"60s","backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE"]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = retrying.Close() }()
	if _, err := tilespb.NewRekorClient(retrying).GetCheckpoint(t.Context(), &emptypb.Empty{}); err != nil {
		t.Errorf("a client that retries: %v", err)
	}
	release()
	if err := <-held; err != nil {
		t.Error(err)
	}
}

// onTrailer is called at the end of each answer.
type onTrailer func()

func (f onTrailer) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.InTrailer); ok {
		f()
	}
}
func (onTrailer) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (onTrailer) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (onTrailer) HandleConn(context.Context, stats.ConnStats)                       {}

// postEntry sends a request over HTTP.
func postEntry(t *testing.T, in *instance, client *http.Client, request *tilespb.CreateEntryRequest) *rekorpb.TransparencyLogEntry {
	t.Helper()
	text, err := protojson.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Post(in.url+"/api/v2/log/entries", "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s, %v: %s", resp.Status, err, answer)
	}
	e := new(rekorpb.TransparencyLogEntry)
	if err := protojson.Unmarshal(answer, e); err != nil {
		t.Fatal(err)
	}
	return e
}

func get(t *testing.T, client *http.Client, url string) []byte {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return b
}
