/** A process that exits with code 3 while a thread of it is in the middle of native products. */
import process from 'node:process';
import { startThread } from '../../../shared/core/thread.node.ts';

const thread = startThread<'go', number>({
  program: new URL('./thread-of-products.ts', import.meta.url),
  name: 'the thread of products',
  data: 1024,
  onMessage: (turn) => {
    if (turn === -1) thread.post('go');
    // In the middle of the next product.
    if (turn === 1) setTimeout(() => process.exit(3), 1);
  },
});
