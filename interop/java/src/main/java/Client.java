import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import dev.sigstore.AlgorithmRegistry;
import dev.sigstore.KeylessSigner;
import dev.sigstore.KeylessVerifier;
import dev.sigstore.SigningConfigProvider;
import dev.sigstore.TrustedRootProvider;
import dev.sigstore.VerificationOptions;
import dev.sigstore.VerificationOptions.CertificateMatcher;
import dev.sigstore.bundle.Bundle;
import dev.sigstore.oidc.client.ImmutableOidcToken;
import dev.sigstore.oidc.client.OidcClient;
import dev.sigstore.oidc.client.OidcClients;
import dev.sigstore.oidc.client.OidcException;
import dev.sigstore.oidc.client.OidcToken;
import dev.sigstore.oidc.client.TokenStringOidcClient;
import dev.sigstore.strings.StringMatcher;
import dev.sigstore.tuf.RootProvider;
import dev.sigstore.tuf.SigstoreTufClient;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Collections;
import java.util.Map;

/**
 * Signs and verifies with sigstore-java.
 *
 * <p>usage: Client TUF-URL ROOT CACHE. It stays: each line that it reads is a JSON array, sign TOKEN
 * FILE BUNDLE | attest TOKEN STATEMENT BUNDLE | verify FILE BUNDLE IDENTITY ISSUER, and is answered
 * with one line, {"error": null} if that went well. With REKOR_VERSION=1 it signs with the log of
 * Rekor v1.
 */
public final class Client {
  private Client() {}

  private static final Gson JSON = new GsonBuilder().serializeNulls().create();

  public static void main(String[] args) throws Exception {
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (var line = lines.readLine(); line != null; line = lines.readLine()) {
      String error = null;
      try {
        run(args, JSON.fromJson(line, String[].class));
      } catch (Exception e) {
        e.printStackTrace();
        error = e.toString();
      }
      System.out.println(JSON.toJson(Collections.singletonMap("error", error)));
    }
    System.exit(0); // a thread of the library may still live
  }

  private static void run(String[] instance, String[] call) throws Exception {
    var tuf =
        SigstoreTufClient.builder()
            .tufMirror(URI.create(instance[0] + "/"), RootProvider.fromFile(Path.of(instance[1])))
            .tufCacheLocation(Path.of(instance[2]));
    switch (call[0]) {
      case "sign" -> {
        try (var signer = signer(tuf, call[1])) {
          write(call[3], signer.signFile(Path.of(call[2])));
        }
      }
      case "attest" -> {
        try (var signer = signer(tuf, call[1])) {
          write(call[3], signer.attest(Files.readString(Path.of(call[2]))));
        }
      }
      case "verify" -> {
        var who =
            CertificateMatcher.fulcio()
                .subjectAlternativeName(StringMatcher.string(call[3]))
                .issuer(StringMatcher.string(call[4]))
                .build();
        KeylessVerifier.builder()
            .trustedRootProvider(TrustedRootProvider.from(tuf))
            .build()
            .verify(
                Path.of(call[1]),
                Bundle.from(Path.of(call[2]), StandardCharsets.UTF_8),
                VerificationOptions.builder().addCertificateMatchers(who).build());
      }
      default -> throw new IllegalArgumentException(call[0]);
    }
  }

  private static KeylessSigner signer(SigstoreTufClient.Builder tuf, String token)
      throws Exception {
    return KeylessSigner.builder()
        .trustedRootProvider(TrustedRootProvider.from(tuf))
        .signingConfigProvider(SigningConfigProvider.from(tuf))
        .enableRekorV2(!"1".equals(System.getenv("REKOR_VERSION")))
        .signingAlgorithm(AlgorithmRegistry.SigningAlgorithm.PKIX_ECDSA_P256_SHA_256)
        .minSigningCertificateLifetime(KeylessSigner.DEFAULT_MIN_SIGNING_CERTIFICATE_LIFETIME)
        .forceCredentialProviders(OidcClients.of(named(token)))
        .build();
  }

  /**
   * Gives the token as it is, with the name that the authority wants proven. TokenStringOidcClient
   * takes that from the subject always; issuers of addresses want the address, as the library's
   * WebOidcClient has it.
   */
  private static OidcClient named(String token) throws Exception {
    var payload = Base64.getUrlDecoder().decode(token.split("\\.")[1]);
    var email = JSON.fromJson(new String(payload, StandardCharsets.UTF_8), JsonObject.class).get("email");
    var client = TokenStringOidcClient.from(token);
    if (email == null) {
      return client;
    }
    return new OidcClient() {
      @Override
      public boolean isEnabled(Map<String, String> env) {
        return true;
      }

      @Override
      public OidcToken getIDToken(Map<String, String> env) throws OidcException {
        return ImmutableOidcToken.builder()
            .from(client.getIDToken(env))
            .subjectAlternativeName(email.getAsString())
            .build();
      }
    };
  }

  private static void write(String path, Bundle bundle) throws Exception {
    Files.writeString(Path.of(path), bundle.toJson());
  }
}
