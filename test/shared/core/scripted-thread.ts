/** Program of a thread that does what it is told. */
import { serveThread } from '../../../shared/core/thread.node.ts';

serveThread<'answer' | 'throw' | 'reject' | 'work', string>(async (greeting: string, { post, signal }) => {
  post(greeting);
  return async (order) => {
    switch (order) {
      case 'answer':
        return post('answered');
      case 'throw':
        setImmediate(() => {
          throw new Error('thrown outside');
        });
        return;
      case 'reject':
        throw new Error('rejected inside');
      case 'work': {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return post('put away');
      }
      default:
        return order satisfies never;
    }
  };
});
