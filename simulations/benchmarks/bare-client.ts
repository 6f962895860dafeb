/** Child process of the round benchmark: a client of the bare floor and nothing else. Address and size are on its command line. */
import { markLate } from '../../shared/core/engine-memory.node.ts';
import { joinBareServer } from './bare-socket.ts';
import { obeyParent } from './children.ts';

markLate();
const [url = '', size = ''] = process.argv.slice(2);
obeyParent({ leave: joinBareServer(url, Number(size)) });
