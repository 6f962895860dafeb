/**
 * Stretches of the sequence by adapter (Poth 2023, composition blocks; `Split` of AdapterHub, with boundaries in place of lengths, so that texts may
 * differ in length): member i changes the tokens from `at[i - 1]` to before `at[i]`, the last all that follow. With h and x `[batch, sequence, hidden]`:
 *
 *     h'[:, a_{i-1} : a_i] = h[:, a_{i-1} : a_i] + c_i(h[:, a_{i-1} : a_i], x[:, a_{i-1} : a_i])
 *
 * For texts of known parts, such as a question in
 * front of its passage. Attention still runs over the whole text.
 */
import { concat, slice, type Tensor3D, zerosLike } from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { sectionField, wholeField } from '../../plan/fields.ts';
import { shown } from '../../plan/problems.ts';
import { parseSettings, refuseSettings } from '../settings.ts';
import { type AdapterHooks, sublayerChange } from '../sublayer-change.ts';
import { bindMembers, type CompositionBinder, composed, membersField, reachOf, refuseOtherHooks } from './members.ts';

const atError = 'a rising list of positions, one fewer than members';
const schema = sectionField({
  members: membersField(2),
  at: z.array(wholeField(1, 2 ** 20), { error: atError }),
});

/** Binds `split`. Members act at the ends of sublayers. */
export const bindSplit: CompositionBinder = (value, base, bindMember) => {
  const settings = parseSettings('split', schema, value);
  const { at } = settings;
  const { members, configurations } = bindMembers('split', settings.members, { base, bindMember });
  const isRising = at.every((position, index) => index === 0 || position > at[index - 1]!);
  if (at.length !== members.length - 1 || !isRising) {
    refuseSettings('split', [{ path: 'at', sentence: `must be ${atError}, found ${shown(at)}` }]);
  }
  refuseOtherHooks('split', members, ['sublayer']);
  const configuration = { members: configurations, at };
  return composed({
    method: 'split',
    configuration,
    members,
    partOf: (context, place) => {
      const { attentionMask } = context;
      if (attentionMask === undefined) return context;
      const { from, to } = stretchOf(at, place, attentionMask.shape[1]);
      return { ...context, attentionMask: slice(attentionMask, [0, from], [-1, to - from]) };
    },
    hooks: (hooks) => splitHooks(hooks, at),
  });
};

/** The positions of a member in a text of `length` tokens. */
function stretchOf(
  at: readonly number[],
  place: number,
  length: number,
): { readonly from: number; readonly to: number } {
  return { from: Math.min(length, at[place - 1] ?? 0), to: Math.min(length, at[place] ?? length) };
}

function splitHooks(members: readonly AdapterHooks[], at: readonly number[]): AdapterHooks {
  return {
    ...reachOf(members),
    ...sublayerChange((site, output, residual, norm) => {
      const [batchSize, length, width] = output.shape;
      let hasActed = false;
      const parts = members.flatMap(({ change }, index): Tensor3D[] => {
        const { from, to } = stretchOf(at, index, length);
        if (from === to) return [];
        const stretch = (states: Tensor3D): Tensor3D => slice(states, [0, from, 0], [batchSize, to - from, width]);
        const own = stretch(output);
        const added = change?.(site, own, stretch(residual), norm);
        if (added !== undefined) hasActed = true;
        return [added ?? zerosLike(own)];
      });
      return hasActed ? concat(parts, 1) : undefined;
    }),
  };
}
