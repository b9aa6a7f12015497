/* What weir-pmd uses of DPDK, as bindgen reads it: DPDK's headers, its macros as constants, and the shim's functions. */
#ifndef WEIR_DPDK_H
#define WEIR_DPDK_H

#include <stddef.h>
#include <stdint.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

/* Where the fields of struct rte_mbuf are, in bytes from its start. */
enum {
	WEIR_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	WEIR_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	WEIR_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	WEIR_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	WEIR_MBUF_PORT = offsetof(struct rte_mbuf, port),
	WEIR_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	WEIR_MBUF_PACKET_TYPE = offsetof(struct rte_mbuf, packet_type),
	WEIR_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	WEIR_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	WEIR_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	WEIR_MBUF_NEXT = offsetof(struct rte_mbuf, next),
};

/* The types that weir-pmd reads at those offsets. */
_Static_assert(sizeof(((struct rte_mbuf *)0)->buf_addr) == sizeof(void *), "buf_addr");
_Static_assert(sizeof(((struct rte_mbuf *)0)->data_off) == 2, "data_off");
_Static_assert(sizeof(((struct rte_mbuf *)0)->refcnt) == 2, "refcnt");
_Static_assert(sizeof(((struct rte_mbuf *)0)->nb_segs) == 2, "nb_segs");
_Static_assert(sizeof(((struct rte_mbuf *)0)->port) == 2, "port");
_Static_assert(sizeof(((struct rte_mbuf *)0)->ol_flags) == 8, "ol_flags");
_Static_assert(sizeof(((struct rte_mbuf *)0)->packet_type) == 4, "packet_type");
_Static_assert(sizeof(((struct rte_mbuf *)0)->pkt_len) == 4, "pkt_len");
_Static_assert(sizeof(((struct rte_mbuf *)0)->data_len) == 2, "data_len");
_Static_assert(sizeof(((struct rte_mbuf *)0)->buf_len) == 2, "buf_len");
_Static_assert(sizeof(((struct rte_mbuf *)0)->next) == sizeof(void *), "next");

/* Macros of the 64-bit flag words. */
static const uint64_t WEIR_F_RX_VLAN = RTE_MBUF_F_RX_VLAN;
static const uint64_t WEIR_F_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
static const uint64_t WEIR_F_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t WEIR_F_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t WEIR_F_RX_OUTER_IP_CKSUM_BAD = RTE_MBUF_F_RX_OUTER_IP_CKSUM_BAD;
static const uint64_t WEIR_F_RX_VLAN_STRIPPED = RTE_MBUF_F_RX_VLAN_STRIPPED;
static const uint64_t WEIR_F_INDIRECT = RTE_MBUF_F_INDIRECT;
static const uint64_t WEIR_F_EXTERNAL = RTE_MBUF_F_EXTERNAL;

static const uint64_t WEIR_RX_OFFLOAD_VLAN_STRIP = RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
static const uint64_t WEIR_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t WEIR_RX_OFFLOAD_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t WEIR_RX_OFFLOAD_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t WEIR_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t WEIR_RX_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t WEIR_TX_OFFLOAD_VLAN_INSERT = RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
static const uint64_t WEIR_TX_OFFLOAD_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t WEIR_TX_OFFLOAD_UDP_CKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t WEIR_TX_OFFLOAD_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t WEIR_TX_OFFLOAD_OUTER_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_OUTER_IPV4_CKSUM;
static const uint64_t WEIR_TX_OFFLOAD_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

static const uint64_t WEIR_RSS_IP_UDP_TCP = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;

enum {
	WEIR_HEADROOM = RTE_PKTMBUF_HEADROOM,
	WEIR_PTYPE_TUNNEL_MASK = RTE_PTYPE_TUNNEL_MASK,
	WEIR_MQ_RX_NONE = RTE_ETH_MQ_RX_NONE,
	WEIR_MQ_RX_RSS = RTE_ETH_MQ_RX_RSS,
	WEIR_VLAN_STRIP = RTE_ETH_VLAN_STRIP_OFFLOAD,
	WEIR_CACHE_MAX = RTE_MEMPOOL_CACHE_MAX_SIZE,
	WEIR_POOL_NAME_MAX = RTE_MEMPOOL_NAMESIZE - 1,
	WEIR_MAX_LCORE = RTE_MAX_LCORE,
	WEIR_LCORE_WAIT = WAIT,
};

/* Receives at most `count` frames into `frames`; how many there were. */
uint16_t weir_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);

/* Offers `count` frames; how many the device took, from the front. Those are no longer the caller's. */
uint16_t weir_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);

/* One buffer, empty, with the default headroom; NULL if the pool has none. */
struct rte_mbuf *weir_mbuf_alloc(struct rte_mempool *pool);

/* `count` buffers, empty, with the default headroom; 0, or a negative errno and none of them. */
int weir_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned int count);

/* Frees a frame with all its segments; NULL is ignored. */
void weir_mbuf_free(struct rte_mbuf *frame);

/* Frees one segment that is in no chain any more. */
void weir_mbuf_free_segment(struct rte_mbuf *segment);

/* Number of buffers a pool was made with. */
unsigned int weir_pool_size(const struct rte_mempool *pool);

/* rte_errno of this thread. */
int weir_errno(void);

/* State of a link, without waiting for it: 0, or a negative errno. `mbps` is 0 where the driver does not know. */
int weir_link(uint16_t port, uint32_t *mbps, int *up);

/* Takes one message of DPDK's log; not terminated. */
typedef void (*weir_log_sink)(int level, const char *text, size_t length);

/* Sends DPDK's log to `sink` from now on: 0, or a negative errno. */
int weir_log_to(weir_log_sink sink);

#endif
