/** A client in a process of its own that kills itself at one moment of its first masked round, without giving it a chance to do anything more. */
import process from 'node:process';
import { createClient } from '../../client/client.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import { createHandshake } from '../../client/transport/handshake.ts';
import { socketTransport } from '../../client/transport/socket-transport.ts';
import { fixedLearner } from '../client/fixed-learner.ts';
import { maskedCall } from './secret-keeping.ts';
import { dim, policyWith } from './world.ts';

/** What the parent asks for. */
export interface ClientRequest {
  readonly stateFolder: string;
  readonly invite: string;
  /** Every value of its delta. */
  readonly value: number;
  /** When it dies: while it trains, before it says something, or when its last word was answered. */
  readonly moment: 'training' | 'ADVERT' | 'SHARES' | 'MASKED' | 'AGREE' | 'UNMASK' | 'end';
}

const die = (): boolean => process.kill(process.pid, 'SIGKILL');

async function run({ stateFolder, invite, value, moment }: ClientRequest): Promise<void> {
  const platform = await nodePlatform(stateFolder);
  const client = await createClient({
    platform,
    invite,
    policy: policyWith({ organisationsMin: 1 }),
    learner: fixedLearner({
      dim,
      delta: () => {
        if (moment === 'training') die();
        return new Float32Array(dim).fill(value);
      },
    }),
    transportOf: (credentials, identity) => {
      const transport = socketTransport({
        url: credentials.url,
        handshake: createHandshake({ platform, identity, credentials }),
      });
      return {
        ...transport,
        call: async (call) => {
          const kind = maskedCall(call.event, call.body)?.kind;
          if (kind === moment) die();
          const answer = await transport.call(call);
          if (kind === 'UNMASK' && moment === 'end') die();
          return answer;
        },
      };
    },
  });
  await client.run();
}

// A failure ends the process, and with it the test that waits for it.
process.once('message', (request: ClientRequest) => void run(request));
