import { strict as assert } from 'node:assert';
import { formatTable } from '../../../shared/command-line/table.ts';

describe('formatTable', () => {
  it('[TAB-1] aligns words left and numbers right, with a rule and no blanks at line ends', () => {
    const table = formatTable(
      [{ heading: 'site' }, { heading: 'rows', align: 'right' }, { heading: 'note' }],
      [
        ['north', '7', ''],
        ['a', '1200', 'größer 🙂'],
      ],
    );
    assert.deepEqual(table.split('\n'), [
      'site   rows  note',
      '-----  ----  --------',
      'north     7',
      'a      1200  größer 🙂',
    ]);
  });

  it('[TAB-2] has headings and a rule without rows, and takes a missing cell as empty', () => {
    assert.equal(formatTable([{ heading: 'a' }, { heading: 'b' }], []), 'a  b\n-  -');
    assert.equal(formatTable([{ heading: 'a' }, { heading: 'b' }], [['x']]), 'a  b\n-  -\nx');
  });
});
