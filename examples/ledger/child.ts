/**
 * A process of workers; started by the ledger, not by hand.
 */
import { runChild } from "./runChild.ts"
import { storeLayer } from "./stores.ts"

runChild(storeLayer)
