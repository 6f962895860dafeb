/** The part `audit` of a plan: what is kept for an auditor. */
import * as z from 'zod/mini';
import { booleanField, sectionField } from './fields.ts';

/** The section as a schema. */
export const auditSchema = sectionField({
  /** Updates are deleted when their round ends, unless this keeps them: masked ones as they were sent. */
  retainUpdates: z._default(booleanField(), false),
});
