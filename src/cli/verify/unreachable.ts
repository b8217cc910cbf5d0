/**
 * What to do about a database that cannot be used at all.
 */
import type { DatastoreError } from "../../EventboxError.ts"

/** What to do about the failure of the first read; nothing where its own message says it. */
export const adviceFor = (
  { operation, reason }: DatastoreError,
  { databaseId, projectId }: { readonly databaseId?: string | undefined; readonly projectId: string | undefined }
): string | undefined => {
  const named = databaseId === undefined ? "" : ` --database=${databaseId}`
  if (operation === "connect") return undefined
  switch (reason._tag) {
    case "NotFound":
      return `There is no such project or database. Name another one with --project and --database, or create it: ` +
        `gcloud firestore databases create --project=${projectId}${named} --type=datastore-mode --location=…`
    case "PermissionDenied":
      return `Give the login the role roles/datastore.user in project ${projectId}, and enable the API: ` +
        `gcloud services enable datastore.googleapis.com --project=${projectId}`
    case "FailedPrecondition":
    case "InvalidArgument":
      return "eventbox needs a database of Firestore in Datastore mode; one in native mode does not answer."
    case "Unavailable":
    case "DeadlineExceeded":
      return "The database could not be reached; is there a network, a proxy, a firewall in between?"
    default:
      return undefined
  }
}
