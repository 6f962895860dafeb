/** Mocha's own reporter, followed by one plain line with the totals: what did not run is counted, never taken as passed. */
const { reporters } = require('mocha');

module.exports = class TotalsReporter extends reporters.Spec {
  epilogue() {
    super.epilogue();
    const { passes, failures, pending } = this.stats;
    console.log(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
};
