/** Every limit of the system with the reason for its value. A limit that a plan may lower says so. */

/** Bytes of one chunk of a transfer: keeps a frame far below socket.io's 1 MB message limit, which closes the connection when exceeded. */
export const chunkBytesMax = 256 * 1024;
/** Chunks that may await an acknowledgement at once: enough to fill a 100 ms link at 80 Mbit/s, little enough to bound memory per client. */
export const chunksInFlightMax = 4;
/** Bytes of one socket message; socket.io's own default, stated so that both sides agree. */
export const messageBytesMax = 1_000_000;
/** Nesting of one message: ours need four levels; the bound stops stack exhaustion by hostile input. */
export const messageDepthMax = 16;
/** Clients in one round under the complete-graph protocol and the size of the roster bitmap. */
export const cohortSizeMax = 10_000;
/** Parameters of one adapter: 2^26 float32 are 256 MiB, beyond any published adapter of a model that trains at the edge. */
export const adapterParametersMax = 2 ** 26;
/** Milliseconds by which an envelope's time may differ from the coordinator's: covers clock drift, bounds replay storage. */
export const envelopeWindowMs = 120_000;
/** Milliseconds for which a challenge nonce may be answered. */
export const challengeLifetimeMs = 30_000;
/** Hours for which an invite may be redeemed. */
export const inviteLifetimeHours = 72;
/** Bytes of a safetensors header: the published format's own bound. */
export const safetensorsHeaderBytesMax = 100_000_000;
/** Bytes of a base's settings, tokenizer or index, which are read whole: the largest published tokenizers have 35 MB. */
export const settingsFileBytesMax = 128 * 1024 * 1024;
/** Characters of one text field in a data row: longer rows are almost certainly a wrong column or a broken file. */
export const textCharactersMax = 1_000_000;
/** Characters (of JSON also bytes) of one data row as it stands in a file: the longest text with every character escaped, and columns beside it. */
export const recordCharactersMax = 8 * textCharactersMax;
/** Uncompressed bytes of the columns that are read of one Parquet row group, which is decoded at once: writers stay far below by default. */
export const parquetGroupBytesMax = 512 * 1024 * 1024;
/** Bytes of one published file of a data set in the catalogue, which is converted in memory: far above every set that is in it. */
export const publishedFileBytesMax = 256 * 1024 * 1024;
/** Bytes of a plan in canonical JSON: 2^14 labels of 200 characters stay below. */
export const planBytesMax = 16 * 1024 * 1024;
/** Bytes of one file of a base model as clients fetch it: a manifest of its chunk digests must fit into one message. */
export const baseFileBytesMax = 14_000 * chunkBytesMax;
