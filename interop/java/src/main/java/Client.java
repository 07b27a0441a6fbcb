import dev.sigstore.AlgorithmRegistry;
import dev.sigstore.KeylessSigner;
import dev.sigstore.KeylessVerifier;
import dev.sigstore.SigningConfigProvider;
import dev.sigstore.TrustedRootProvider;
import dev.sigstore.VerificationOptions;
import dev.sigstore.VerificationOptions.CertificateMatcher;
import dev.sigstore.bundle.Bundle;
import dev.sigstore.oidc.client.OidcClients;
import dev.sigstore.oidc.client.TokenStringOidcClient;
import dev.sigstore.strings.StringMatcher;
import dev.sigstore.tuf.RootProvider;
import dev.sigstore.tuf.SigstoreTufClient;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Signs and verifies with sigstore-java.
 *
 * <p>usage: Client TUF-URL ROOT CACHE sign TOKEN FILE BUNDLE | attest TOKEN STATEMENT BUNDLE | verify
 * FILE BUNDLE EMAIL ISSUER. With REKOR_VERSION=1 it signs with the log of Rekor v1.
 */
public final class Client {
  private Client() {}

  public static void main(String[] args) {
    try {
      run(args);
    } catch (Exception e) {
      e.printStackTrace();
      System.exit(1); // a thread of the library may still live
    }
    System.exit(0);
  }

  private static void run(String[] args) throws Exception {
    var tuf =
        SigstoreTufClient.builder()
            .tufMirror(URI.create(args[0] + "/"), RootProvider.fromFile(Path.of(args[1])))
            .tufCacheLocation(Path.of(args[2]));
    switch (args[3]) {
      case "sign" -> {
        try (var signer = signer(tuf, args[4])) {
          write(args[6], signer.signFile(Path.of(args[5])));
        }
      }
      case "attest" -> {
        try (var signer = signer(tuf, args[4])) {
          write(args[6], signer.attest(Files.readString(Path.of(args[5]))));
        }
      }
      case "verify" -> {
        var who =
            CertificateMatcher.fulcio()
                .subjectAlternativeName(StringMatcher.string(args[6]))
                .issuer(StringMatcher.string(args[7]))
                .build();
        KeylessVerifier.builder()
            .trustedRootProvider(TrustedRootProvider.from(tuf))
            .build()
            .verify(
                Path.of(args[4]),
                Bundle.from(Path.of(args[5]), StandardCharsets.UTF_8),
                VerificationOptions.builder().addCertificateMatchers(who).build());
      }
      default -> throw new IllegalArgumentException(args[3]);
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
        .forceCredentialProviders(OidcClients.of(TokenStringOidcClient.from(token)))
        .build();
  }

  private static void write(String path, Bundle bundle) throws Exception {
    Files.writeString(Path.of(path), bundle.toJson());
  }
}
