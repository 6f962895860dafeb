/** Who takes part in a world: keys that are the same in every world, because a pair of keys costs more than a round; certificates; vectors. */
import { utf8 } from '../../shared/core/bytes.ts';
import type { Entropy } from '../../shared/core/ports.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { refuse, succeed } from '../../shared/core/result.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { createIdentity, type Identity } from '../../shared/crypto/identity.ts';
import { violation } from '../../shared/protocol/violations.ts';
import type { MaskedVector } from '../../shared/secure-aggregation/mask.ts';
import type { JudgeCertificate } from '../../shared/secure-aggregation/members.ts';

/** Reproducible bytes in place of unpredictable ones: for worlds alone. `onBytes` sees every buffer that is handed out. */
export function worldEntropy(seed: number, label: string, onBytes?: (bytes: Uint8Array) => void): Entropy {
  const random = seededRandom(seed, 'world', label);
  return {
    bytes: (count) => {
      const bytes = Uint8Array.from({ length: count }, () => random.integer(256));
      onBytes?.(bytes);
      return bytes;
    },
  };
}

const identities = new Map<string, Identity>();

/** The key of somebody, by name. */
export function identityOf(name: string): Identity {
  const known = identities.get(name) ?? createIdentity(worldEntropy(1, name), engineCrypto);
  identities.set(name, known);
  return known;
}

/** Certificates of a world name an organisation; whoever shows another text is no member. */
export function certificateOf(index: number): Uint8Array {
  return utf8(`organisation ${index}`);
}

/** Judges certificates of a world. */
export const judgeWorldCertificate: JudgeCertificate = (certificate) => {
  const organisation = new TextDecoder().decode(certificate);
  return organisation.startsWith('organisation ')
    ? succeed(organisation)
    : refuse(violation('unknown-client', 'its certificate is of nobody'));
};

/** Words of a world's vectors: a few are enough, every word is masked alike. */
export const worldDim = 5;

/** What a client contributes to a round, whatever the attempt: words that tell clients, rounds and places apart. */
export function worldVector(index: number, roundIndex: number): MaskedVector {
  const random = seededRandom(index, 'vector', roundIndex);
  return {
    coordinates: Uint32Array.from({ length: worldDim }, () => random.integer(2 ** 32)),
    tail: Uint32Array.of(index + 1, random.integer(65_536)),
  };
}
